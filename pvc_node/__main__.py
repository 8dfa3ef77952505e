import sys

from pvc_node.main import main

sys.exit(main())

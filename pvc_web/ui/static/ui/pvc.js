"use strict";
// Fills each page from the REST API and keeps it up to date. All text goes in as text nodes: nothing of the cluster's is HTML.

const API = "/api/v1";
const PERIOD = 2500; // milliseconds between two looks
const PAGE_SIZE = 50;
const { page, csrf, login, machine } = document.body.dataset;
const mayOperate = "operator" in document.body.dataset;
const mayAdminister = "administrator" in document.body.dataset;
const byId = (id) => document.getElementById(id);

// ---- the API

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(method, path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value != null);
  const fields = new URLSearchParams(given);
  const url = API + path + (method === "GET" && given.length ? `?${fields}` : "");
  const options = { method, headers: { Accept: "application/json" } };
  if (method !== "GET") {
    Object.assign(options.headers, { "X-CSRFToken": csrf, Prefer: "respond-async" });
    options.body = fields;
  }
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Refused(0, "The server does not answer. Trying again …");
  }
  if (response.status === 401) {
    location.assign(`${login}?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  const document = await response.json().catch(() => null);
  if (!response.ok || document === null) {
    throw new Refused(response.status, document?.message ?? `The server answered with status ${response.status}.`);
  }
  return { document, total: Number(response.headers.get("X-Total-Count")) };
}

const get = async (path, parameters) => (await call("GET", path, parameters)).document;

/** The same; null when there is no such thing any more. */
const found = (path) => get(path).catch((error) => {
  if (error.status === 404) return null;
  throw error;
});

// ---- words and numbers

const number = new Intl.NumberFormat("en");

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let power = 0;
  for (; value >= 1024 && power < units.length - 1; power++) value /= 1024;
  return `${number.format(value >= 100 || power === 0 ? Math.round(value) : Number(value.toPrecision(3)))} ${units[power]}`;
}

function seconds(value) {
  if (value < 60) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  const minutes = Math.floor(value / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(value % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function moment(value) {
  if (!value) return "";
  const time = new Date(typeof value === "number" ? value * 1000 : value);
  const today = time.toDateString() === new Date().toDateString();
  const form = { hourCycle: "h23" };
  return today ? time.toLocaleTimeString([], form) : time.toLocaleString([], form);
}

const utc = (text) => text && `${text.replace(" ", "T")}Z`; // the API's times without a zone

const TONES = {
  good: ["start", "run", "ready", "primary", "SUCCESS", "ok"],
  busy: ["migrate", "restart", "shutdown", "provision", "init", "flush", "unflush", "fencing", "recovering", "returned", "RUNNING"],
  bad: ["fail", "dead", "failed", "fenced", "FAILURE"],
  warn: ["flushed", "REVOKED"],
};
const SHOWN = { PENDING: "waits", RUNNING: "runs", SUCCESS: "done", FAILURE: "failed", REVOKED: "cancelled", failed: "fence failed" };

const badge = (state) => ({
  badge: SHOWN[state] ?? state,
  tone: Object.keys(TONES).find((tone) => TONES[tone].includes(state)) ?? "calm",
});
const bar = (part, whole, text) => ({ bar: whole > 0 ? Math.min(1, part / whole) : 0, text });
const fullness = (fraction) => (fraction >= 0.9 ? "bad" : fraction >= 0.75 ? "warn" : "good");
const healthTone = (percent) => (percent > 90 ? "good" : percent > 50 ? "warn" : "bad");
const machineLink = (name) => ({ text: name, href: `/ui/machines/${encodeURIComponent(name)}` });

// ---- cells: a description of what is shown, made into nodes only when it differs from what is there

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function nodes(cell) {
  if (Array.isArray(cell)) return cell.flatMap((part, index) => (index ? [" ", ...nodes(part)] : nodes(part)));
  if (cell == null || cell === "") return [element("span", { className: "quiet" }, "–")];
  if (typeof cell !== "object") return [String(cell)];
  if ("href" in cell) return [element("a", { href: cell.href }, cell.text)];
  if ("badge" in cell) return [element("span", { className: `badge ${cell.tone}` }, cell.badge)];
  if ("tag" in cell) return [element("span", { className: "tag" }, cell.tag)];
  if ("note" in cell) return [element("span", { className: "note" }, cell.note)];
  if ("bar" in cell) {
    const filled = element("span", { className: `filled ${cell.tone ?? fullness(cell.bar)}` });
    filled.style.width = `${100 * cell.bar}%`;
    const track = element("span", { className: "track", ariaHidden: "true" }, filled);
    return [element("span", { className: "bar" }, track, element("span", { className: "bar-text" }, cell.text))];
  }
  const { ask, request } = cell; // the arguments of confirmed and of send
  const button = element("button", { type: "button", className: "plain", ask, request }, cell.button);
  Object.assign(button.dataset, cell.data);
  return [button];
}

function fill(target, cell) {
  const signature = JSON.stringify(cell ?? null);
  if (target.signature === signature) return;
  target.signature = signature;
  target.replaceChildren(...nodes(cell));
}

/** Show rows in the table within #id: one table row for each key, kept as long as the key is there. */
function table(id, rows, key, cells) {
  const frame = byId(id);
  const body = frame.querySelector("tbody");
  const headings = [...frame.querySelectorAll("th")];
  const left = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  rows.forEach((row, index) => {
    const name = String(key(row));
    const shown = left.get(name) ?? element("tr", {}, ...headings.map(tableCell));
    shown.dataset.key = name;
    left.delete(name);
    cells(row).forEach((cell, column) => fill(shown.cells[column].firstChild, cell));
    if (body.rows[index] !== shown) body.insertBefore(shown, body.rows[index] ?? null);
  });
  left.forEach((row) => row.remove());
  const empty = frame.querySelector(".empty");
  empty.hidden = rows.length > 0;
  if (empty.textContent !== empty.dataset.empty) empty.textContent = empty.dataset.empty;
}

function tableCell(heading) {
  const cell = element("td", { className: heading.className }, element("div", {}));
  cell.dataset.label = heading.textContent;
  return cell;
}

// ---- keeping up to date

/** Call load again and again, and show with what it answered. Returns a function that does so at once. */
function live(load, show) {
  let turn = 0;
  let timer;
  async function look() {
    const mine = ++turn;
    clearTimeout(timer);
    try {
      const seen = await load();
      if (mine !== turn) return; // something newer was asked for meanwhile
      show(seen);
      trouble("");
    } catch (error) {
      if (mine !== turn) return;
      trouble(error.message);
    }
    if (!document.hidden) timer = setTimeout(look, PERIOD);
  }
  document.addEventListener("visibilitychange", () => document.hidden || look());
  look();
  return look;
}

function trouble(message) {
  byId("trouble").hidden = !message;
  byId("trouble").textContent = message;
}

function notice(message, bad = false) {
  const place = byId("notice");
  place.className = bad ? "shown bad" : "shown";
  place.textContent = message;
  clearTimeout(place.timer);
  place.timer = setTimeout(() => (place.className = ""), 6000);
}

function confirmed(title, text, yes) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function send(method, path, parameters) {
  try {
    const { document } = await call(method, path, parameters);
    notice(document.message);
  } catch (error) {
    notice(error.message, true);
  }
}

document.addEventListener("click", async ({ target }) => {
  if (target.request && (await confirmed(...target.ask))) await send(...target.request);
});

/** Filter and part of a long list, kept in the page's address. */
function listState(change) {
  const address = new URLSearchParams(location.search);
  const state = { limit: address.get("limit") ?? "", state: address.get("state") ?? "", offset: 0 };
  const changed = (values) => {
    Object.assign(state, { offset: 0 }, values);
    const shown = Object.entries({ limit: state.limit, state: state.state }).filter(([, value]) => value);
    history.replaceState(null, "", location.pathname + (shown.length ? `?${new URLSearchParams(shown)}` : ""));
    change();
  };
  const text = byId("filter-text");
  if (text) {
    text.value = state.limit;
    text.addEventListener("input", () => changed({ limit: text.value.trim() }));
    byId("filter").addEventListener("submit", (event) => event.preventDefault());
  }
  byId("earlier").addEventListener("click", () => changed({ offset: Math.max(0, state.offset - PAGE_SIZE) }));
  byId("later").addEventListener("click", () => changed({ offset: state.offset + PAGE_SIZE }));
  return { state, changed };
}

/** What the API said to a filter: a wrong pattern is told beside the box, and everything else as trouble. */
async function filtered(path, { limit, state, offset }) {
  try {
    const answer = await call("GET", path, { limit, state, offset, page_size: PAGE_SIZE });
    byId("filter-error").textContent = "";
    return answer;
  } catch (error) {
    if (error.status !== 400) throw error;
    byId("filter-error").textContent = error.message;
    return null;
  }
}

function showPart(offset, length, total) {
  byId("earlier").disabled = offset === 0;
  byId("later").disabled = offset + length >= total;
  byId("part").textContent = length ? `${number.format(offset + 1)}–${number.format(offset + length)} of ${number.format(total)}` : "\u00a0";
}

// ---- what is shown on several pages

function nodeRows(list, actions = () => []) {
  table("nodes", list, (node) => node.name, (node) => [
    [node.name, ...(node.coordinator_state === "primary" ? [badge("primary")] : [])],
    { badge: `${node.health} %`, tone: healthTone(node.health) },
    nodeStates(node),
    number.format(node.domains_count),
    node.load.toFixed(2),
    bar(node.vcpu.allocated, node.vcpu.total, `${number.format(node.vcpu.allocated)} of ${number.format(node.vcpu.total)}`),
    bar(node.memory.used, node.memory.total, `${bytes(node.memory.used * 2 ** 20)} of ${bytes(node.memory.total * 2 ** 20)}`),
    ...actions(node),
  ]);
}

function nodeStates(node) {
  const states = [...new Set([node.daemon_state, node.fence, node.domain_state])].filter(Boolean).map(badge);
  return node.daemon_state === "run" ? states : [...states.slice(0, -1), { ...states.at(-1), tone: "calm" }]; // it is ready for nothing
}

function fenceRows(list) {
  const attempt = ({ confirmed, message }) => (confirmed ? { badge: "confirmed", tone: "good" } : message);
  table("fences", list, (fence) => fence.name, (fence) => [
    fence.name,
    [badge(fence.step), `since ${moment(fence.since)}`],
    moment(fence.began),
    fence.why,
    attempt(fence.storage),
    attempt(fence.power),
    fence.confirmed_by,
  ]);
}

const unfinished = (tasks) => [...Object.values(tasks.active), ...Object.values(tasks.reserved)].flat();

function taskRows(list) {
  const now = Date.now();
  table("tasks", list, (task) => task.task_id, (task) => {
    const over = task.ended !== null;
    const took = task.duration ?? (task.started ? Math.max(0, (now - Date.parse(task.started)) / 1000) : null);
    const share = task.state === "SUCCESS" ? 1 : task.current / Math.max(1, task.total);
    return [
      task.task_name,
      task.subject,
      badge(task.state),
      { bar: share, tone: { FAILURE: "bad", REVOKED: "warn" }[task.state] ?? "good", text: [task.status, ...task.left].join(" · ") },
      task.requested_by || "the cluster",
      task.run_on,
      moment(task.started ?? task.created),
      took === null ? "" : seconds(took),
      over || !mayOperate || task.cancel_requested ? [] : {
        button: "Cancel",
        ask: ["Cancel this task?", `${task.task_name} ${task.subject} stops at its next step and undoes what it did.`, "Cancel the task"],
        request: ["DELETE", `/tasks/${task.task_id}`],
      },
    ];
  });
}

function faultRows(list) {
  table("faults", list, (fault) => fault.id, (fault) => [
    faultState(fault),
    fault.message,
    moment(utc(fault.first_reported)),
    moment(utc(fault.last_reported)),
    mayOperate ? [...(isNew(fault) ? [acknowledge("Acknowledge", fault.message, `/faults/${fault.id}`)] : []), {
      button: "Delete",
      ask: ["Delete?", `${fault.message}. It comes back if its cause is still there.`, "Delete"],
      request: ["DELETE", `/faults/${fault.id}`],
    }] : [],
  ]);
  fill(byId("faults-all"), mayOperate && list.some(isNew) ? acknowledge("Acknowledge all", "All faults", "/faults") : []);
}

const isNew = (fault) => fault.status === "new";
const acknowledge = (word, what, path) => ({
  button: word,
  ask: [`${word}?`, `${what}. What is acknowledged lowers the health no more, and goes when it is over.`, word],
  request: ["PUT", path],
});

function faultState(fault) {
  if (fault.status === "ack") return { badge: "acknowledged", tone: "calm" };
  if (fault.over) return { badge: "over", tone: "calm" };
  return { badge: `−${fault.health_delta} %`, tone: fault.health_delta >= 50 ? "bad" : "warn" };
}

// ---- the pages

const pages = {
  overview() {
    live(
      () => Promise.all([get("/status"), get("/node"), get("/tasks", { limit: 0 }), get("/faults", { sort_key: "first_reported" })]),
      ([status, list, tasks, faults]) => {
        const health = status.cluster_health;
        fill(byId("health"), { badge: `${health.health} %`, tone: healthTone(health.health) });
        fill(byId("health-text"), `primary: ${status.primary_node}`);
        showMaintenance(status.maintenance === "true");
        showSpare(status.n_minus_1);
        faultRows(faults);
        showMessages(health.messages.filter((message) => !faults.some((fault) => fault.message === message)));
        for (const [id, unit] of [["memory", 2 ** 20], ["disk", 1024]]) {
          const { used, total } = status.resources[id];
          fill(byId(id), bar(used, total, `${total ? Math.round((100 * used) / total) : 0} %`));
          fill(byId(`${id}-text`), `${bytes(used * unit)} of ${bytes(total * unit)} used`);
        }
        const { allocated, total, load } = status.resources.vcpu;
        fill(byId("vcpu"), bar(load, total, `load ${load.toFixed(1)}`));
        fill(byId("vcpu-text"), `${number.format(allocated)} vCPUs allocated on ${number.format(total)} cores`);
        fill(byId("states"), stateCounts(status.vms).map(([state, count]) => ({ text: `${count} ${state}`, href: `/ui/machines?state=${state}` })));
        nodeRows(list);
        taskRows(unfinished(tasks));
      },
    );
  },

  nodes() {
    const load = async () => {
      const [list, tasks] = await Promise.all([get("/node"), get("/tasks")]);
      const fences = await Promise.all(list.filter((node) => node.fence).map((node) => found(`/node/${encodeURIComponent(node.name)}/fence`)));
      return [list, tasks, fences.filter(Boolean)];
    };
    live(load, ([list, tasks, fences]) => {
      const onNodes = (task) => task.task_name.startsWith("node.");
      const busy = unfinished(tasks).filter(onNodes);
      const worked = busy.map((task) => task.subject);
      nodeRows(list, (node) => (mayOperate ? [worked.includes(node.name) ? [] : nodeActions(node, list)] : []));
      fenceRows(fences);
      taskRows([...busy, ...tasks.tasks.filter((task) => task.ended && onNodes(task)).slice(0, 5)]);
      const checks = list.flatMap((node) => node.health_details.map((check) => ({ node: node.name, ...check })));
      table("checks", checks, (check) => `${check.node}/${check.name}`, (check) => [
        check.node,
        check.name,
        check.health_delta ? { badge: `−${check.health_delta} %`, tone: check.health_delta >= 50 ? "bad" : "warn" } : badge("ok"),
        check.message,
        moment(check.last_run),
      ]);
    });
  },

  machines() {
    const { state, changed } = listState(() => look());
    byId("states").addEventListener("click", (event) => {
      if ("state" in event.target.dataset) changed({ state: event.target.dataset.state });
    });
    const look = live(
      () => Promise.all([get("/status"), filtered("/vm", state)]),
      ([status, answer]) => {
        const counts = [["", status.vms.total], ...stateCounts(status.vms)];
        fill(byId("states"), counts.map(([name, count]) => ({ button: `${name || "all"} ${number.format(count)}`, data: { state: name } })));
        for (const chip of byId("states").children) chip.ariaPressed = String(chip.dataset.state === state.state);
        if (answer === null) return;
        table("machines", answer.document, (vm) => vm.uuid, (vm) => [
          machineLink(vm.name),
          [badge(vm.state), ...(vm.failed_reason ? [{ note: vm.failed_reason }] : [])],
          vm.last_node ? `${vm.node}, from ${vm.last_node}` : vm.node,
          vm.vcpu,
          bytes(vm.memory * 2 ** 20),
          vm.disks.map((disk) => disk.name).join(", "),
          vm.networks.map((card) => card.vni ?? card.source).join(", "),
          vm.tags.map((tag) => ({ tag: tag.name })),
        ]);
        showPart(state.offset, answer.document.length, answer.total);
      },
    );
  },

  machine() {
    const path = `/vm/${encodeURIComponent(machine)}`;
    let shown = null;
    const look = live(
      () => Promise.all([get(path), get("/tasks"), get(`${path}/console`, { lines: 200 }).catch((error) => ({ data: error.message }))]),
      ([vm, tasks, log]) => {
        shown = vm;
        fill(byId("state"), badge(vm.state));
        byId("reason").hidden = !vm.failed_reason;
        byId("reason").textContent = vm.failed_reason;
        taskRows(tasks.tasks.filter((task) => task.subject === vm.name).slice(0, 5));
        showFacts(vm);
        showConsole(log.data);
        table("disks", vm.disks, (disk) => disk.dev, (disk) => [disk.dev, disk.name, disk.type, disk.bus, bytes(disk.rd_bytes), bytes(disk.wr_bytes)]);
        table("cards", vm.networks, (card) => card.mac, (card) => [
          card.vni, card.mac, card.model, card.source, bytes(card.rd_bytes), bytes(card.wr_bytes),
          `${card.rd_errors + card.wr_errors}, ${card.rd_drops + card.wr_drops}`,
        ]);
        table("snapshots", vm.snapshots, (snapshot) => snapshot.name, (snapshot) => [
          snapshot.name, moment(Number(snapshot.timestamp)), bytes(snapshot.size), AT_REST[snapshot.quiesced], snapshot.purpose,
          ...(mayAdminister ? [snapshotActions(vm, snapshot.name, path)] : []),
        ]);
        for (const button of document.querySelectorAll("[data-action]")) button.disabled = !ACTIONS[button.dataset.action].when(vm);
      },
    );
    byId("actions")?.addEventListener("click", async (event) => {
      const action = ACTIONS[event.target.dataset.action];
      if (!action || !(await confirmed(`${event.target.textContent} ${shown.name}?`, action.warning, event.target.textContent))) return;
      const [place, value] = action.call;
      await send("POST", `${path}/${place}`, value);
      look();
    });
  },

  storage() {
    const { state } = listState(() => look());
    const look = live(
      () => Promise.all([get("/storage/ceph/pool"), filtered("/storage/ceph/volume", state)]),
      ([pools, answer]) => {
        table("pools", pools, (pool) => pool.name, (pool) => [
          pool.name,
          { ...bar(pool.stats.used_percent, 1, bytes(pool.stats.used_bytes)) },
          bytes(pool.stats.free_bytes),
          number.format(pool.volume_count),
          pool.tier,
          pool.pgs,
          number.format(pool.stats.num_objects_degraded),
        ]);
        if (answer === null) return;
        table("volumes", answer.document, (volume) => `${volume.pool}/${volume.name}`, (volume) => [
          volume.name, volume.pool, volume.stats.size, volume.stats.snapshot_count, volume.stats.features.join(", "), volume.stats.create_timestamp,
        ]);
        showPart(state.offset, answer.document.length, answer.total);
      },
    );
  },

  networks() {
    live(() => get("/network"), (list) => {
      table("networks", list, (network) => network.vni, (network) => [network.vni, network.description, network.type, network.mtu || "as the interface"]);
    });
  },

  copies() {
    live(
      () => Promise.all([get("/vm", { mirror: true }), backupSchedules(), get("/schedules/mirror")]),
      ([machines, backups, mirrors]) => {
        table("mirrors", machines, (vm) => vm.uuid, ({ name, mirror }) => [
          machineLink(name),
          [badge(mirror.role), ...(mirror.hindrance ? [{ note: mirror.hindrance }] : [])],
          mirror.peer,
          copyAge(mirror),
          mirror.goal ? seconds(mirror.goal) : "",
          mirror.lag_bytes === null ? "" : bytes(mirror.lag_bytes),
          mirror.answered === null ? "never" : `${seconds(mirror.answered)} ago`,
        ]);
        table("backup-schedules", backups, (schedule) => schedule.name, (schedule) => [
          ...scheduleCells(schedule),
          schedule.target,
          schedule.keep || "everything",
          moment(schedule.last_run),
          tested(schedule.test),
          ...runNow(schedule, "autobackup"),
        ]);
        table("mirror-schedules", mirrors, (schedule) => schedule.name, (schedule) => [
          ...scheduleCells(schedule),
          schedule.peer,
          schedule.goal ? seconds(schedule.goal) : "",
          moment(schedule.last_run),
          ...runNow(schedule, "automirror"),
        ]);
      },
    );
  },

  tasks() {
    const { state } = listState(() => look());
    const look = live(
      () => get("/tasks", { limit: PAGE_SIZE, offset: state.offset }),
      (answer) => {
        taskRows(answer.tasks);
        showPart(state.offset, answer.tasks.length, answer.total);
      },
    );
  },
};

// ---- parts of pages

const running = (vm) => vm.state === "start" || vm.state === "restart";
const off = (vm) => ["stop", "disable", "fail"].includes(vm.state);
const ACTIONS = {
  start: { call: ["state", { state: "start" }], when: off, warning: "The machine is started on its node." },
  restart: { call: ["state", { state: "restart" }], when: running, warning: "The guest is asked to shut down, and started again." },
  shutdown: { call: ["state", { state: "shutdown" }], when: running, warning: "The guest is asked to shut down. When it has not in time, its power is cut." },
  stop: { call: ["state", { state: "stop" }], when: (vm) => !off(vm) || vm.state === "fail", warning: "Its power is cut at once. What it has not written is lost." },
  disable: { call: ["state", { state: "disable" }], when: (vm) => vm.state !== "disable", warning: "It is stopped, and the cluster never starts it by itself." },
  migrate: { call: ["node", { action: "migrate" }], when: running, warning: "It moves to another node, chosen by the cluster, and remembers where it came from." },
  snapshot: { call: ["snapshot", {}], when: (vm) => vm.disks.length > 0, warning: "All disks are taken at one moment, for which it stands still." },
  unmigrate: { call: ["node", { action: "unmigrate" }], when: (vm) => vm.last_node !== "", warning: "It moves back to the node it came from." },
};

const AT_REST = { guest: "file systems frozen", paused: "as after a loss of power", off: "was off" };
const snapshotActions = (vm, name, path) => [
  ...(off(vm) ? [{
    button: "Roll back",
    ask: [`Roll ${vm.name} back to ${name}?`, "What was written to its disks since is lost. Its configuration becomes what it was, too.", "Roll back"],
    request: ["POST", `${path}/snapshot/rollback`, { snapshot_name: name }],
  }] : []),
  {
    button: "Remove",
    ask: [`Remove the snapshot ${name}?`, `${vm.name} can no longer be rolled back to it.`, "Remove"],
    request: ["DELETE", `${path}/snapshot`, { snapshot_name: name }],
  },
];

const empties = (node) => node.daemon_state === "run" && !node.fence && node.domain_state !== "ready";
const couldBePrimary = (node) => node.daemon_state === "run" && !node.fence && node.coordinator_state === "secondary";
const unproven = (node) =>
  (["", "failed"].includes(node.fence) && (node.daemon_state === "dead" || (node.daemon_state === "stop" && node.domains_count > 0))) ||
  (node.fence === "fenced" && node.domains_count > 0);
const NODE_ACTIONS = [
  {
    word: "Flush",
    call: ["domain-state", { action: "flush" }],
    when: (node) => node.daemon_state === "run" && node.domain_state !== "flushed",
    warning: "Its machines move to other nodes, and it takes none until it is made ready.",
  },
  {
    word: "Ready",
    call: ["domain-state", { action: "ready" }],
    when: empties,
    warning: "It takes machines again, and those that moved away from it come back.",
  },
  {
    word: "Ready, no moves",
    call: ["domain-state", { action: "ready", stay: true }],
    when: empties,
    warning: "It takes machines again. Those that moved away from it stay where they are.",
  },
  {
    word: "Make primary",
    call: ["coordinator-state", { action: "primary" }],
    when: couldBePrimary,
    warning: "The floating addresses move to it. Who uses the cluster through them may have to ask again.",
  },
  {
    word: "Make secondary",
    call: ["coordinator-state", { action: "secondary" }],
    when: (node, list) => node.coordinator_state === "primary" && list.some(couldBePrimary),
    warning: "Another coordinator becomes primary, and the floating addresses move there.",
  },
  {
    word: "Confirm it is off",
    call: ["fence", { action: "confirm" }],
    when: (node) => mayAdminister && unproven(node),
    warning: `Have you seen yourself that this node has no power? The cluster takes your word for it and starts its machines on other nodes.

If it still has power, they run twice and destroy their disks. There is no way back.`,
  },
];

function nodeActions(node, list) {
  return NODE_ACTIONS.filter((action) => action.when(node, list)).map(({ word, call: [place, parameters], warning }) => ({
    button: word,
    ask: [`${node.name}: ${word}?`, warning, word],
    request: ["POST", `/node/${encodeURIComponent(node.name)}/${place}`, parameters],
  }));
}

function showMaintenance(on) {
  const [word, warning] = on
    ? ["End maintenance", "Nodes that give no sign of life are fenced again, and their machines start elsewhere."]
    : ["Begin maintenance", "Nodes that die are not fenced until you end it, and their machines stay down."];
  const button = { button: word, ask: [`${word}?`, warning, word], request: ["POST", "/status", { state: !on }] };
  fill(byId("maintenance"), [...(on ? [{ badge: "in maintenance", tone: "warn" }] : []), ...(mayAdminister ? [button] : [])]);
}

const NAMED = 30; // machines that are named of each node

/** Whether the cluster could lose any one node; null: not known yet. */
function showSpare(survival) {
  const lost = Object.entries(survival?.nodes ?? {});
  const [figure, text] = survival === null
    ? [badge("not known yet"), "The primary works it out"]
    : survival.survives
      ? [{ badge: "enough", tone: "good" }, "Any one node may die: each machine has a place"]
      : [{ badge: "too little", tone: "warn" }, `Not all machines have a place if ${lost.map(([name]) => name).join(" or ")} dies`];
  fill(byId("spare"), figure);
  fill(byId("spare-text"), text);
  byId("homeless").hidden = lost.length === 0;
  table("shortfalls", lost, ([name]) => name, ([name, machines]) => [
    name,
    number.format(machines.length),
    [...machines.slice(0, NAMED).map(machineLink), ...(machines.length > NAMED ? ["…"] : [])],
  ]);
}

function stateCounts(counts) {
  return Object.entries(counts).filter(([state, count]) => state !== "total" && count > 0);
}

function showMessages(messages) {
  const list = byId("health-messages");
  const signature = JSON.stringify(messages);
  if (list.signature === signature) return;
  list.signature = signature;
  list.replaceChildren(...messages.map((message) => element("li", {}, message)));
}

function showFacts(vm) {
  const facts = {
    Node: vm.last_node ? `${vm.node}, from ${vm.last_node}` : vm.node,
    vCPUs: `${vm.vcpu} (${vm.vcpu_topology})`,
    Memory: bytes(vm.memory * 2 ** 20),
    Description: vm.description,
    Tags: vm.tags.map((tag) => ({ tag: tag.name })),
    "Nodes allowed": vm.node_limit.join(", ") || "all",
    "Chosen by": vm.node_selector,
    Priority: vm.priority,
    Affinity: vm.affinity.map((tag) => ({ tag })),
    "Anti-affinity": vm.anti_affinity.map((tag) => ({ tag })),
    "Starts by itself": vm.node_autostart ? "when its node gets ready" : "no",
    "Moves by": vm.migration_method,
    Mirror: mirrored(vm.mirror),
    Profile: vm.profile,
    VNC: vm.vnc.port === "None" ? "" : `${vm.vnc.listen}:${vm.vnc.port}`,
    Kind: `${vm.type}, ${vm.arch}, ${vm.machine}`,
    UUID: vm.uuid,
  };
  const place = byId("facts");
  for (const [name, value] of Object.entries(facts)) {
    let shown = [...place.children].find((child) => child.dataset.name === name);
    if (!shown) {
      shown = element("dd", {});
      shown.dataset.name = name;
      place.append(element("dt", {}, name), shown);
    }
    fill(shown, value);
  }
}

/** The schedules, each with its newest restore test. */
const backupSchedules = async () => Promise.all((await get("/schedules/backup")).map(async (schedule) => {
  const path = `/schedules/backup/${encodeURIComponent(schedule.name)}/tests`;
  return { ...schedule, test: schedule.test_when ? (await get(path, { limit: 1 }))[0] : null };
}));

const scheduleCells = (schedule) => [
  [schedule.name, ...(schedule.enabled ? [] : [{ badge: "disabled", tone: "calm" }])],
  schedule.when,
  [...schedule.tags.map((tag) => ({ tag })), ...schedule.vms.map(machineLink)],
];

const tested = (test) => test && [
  { badge: test.passed ? "passed" : "failed", tone: test.passed ? "good" : "bad" },
  { note: `${test.vm}, ${moment(test.time)}${test.message ? `: ${test.message}` : ""}` },
];

const runNow = ({ name }, call) => !mayOperate ? [] : [{
  button: "Run now",
  ask: [`Run ${name} now?`, "It runs beside its times, which stay as they are.", "Run"],
  request: ["POST", `/vm/${call}`, { schedule: name }],
}];

function copyAge({ lag_seconds: age, goal }) {
  if (age === null) return { badge: "no copy yet", tone: "warn" };
  return { badge: seconds(age), tone: goal && age > goal ? "bad" : goal ? "good" : "calm" };
}

function mirrored(mirror) {
  if (!mirror) return "";
  const copy = mirror.lag_seconds === null ? "no copy yet" : `copy ${Math.round(mirror.lag_seconds)} s old`;
  const unsent = mirror.lag_bytes === null ? "" : `, ${bytes(mirror.lag_bytes)} written since`;
  return `${mirror.role}, with cluster ${mirror.peer || "unknown"}: ${copy}${unsent}`;
}

function showConsole(text) {
  const place = byId("console");
  const atEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 8;
  const shown = text.trimEnd() || "Nothing was written yet.";
  if (place.textContent !== shown) place.textContent = shown;
  if (atEnd) place.scrollTop = place.scrollHeight;
}

pages[page]();

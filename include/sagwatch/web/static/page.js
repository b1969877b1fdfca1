// The Sagwatch page. Everything that comes from the server is put into the page as text, never as HTML.
import { VelocityMap, colourBar } from "./map.js";
import { historyChart } from "./history.js";

const NO_DATA = -32768;
const $ = (id) => document.getElementById(id);
const state = { sites: [], site: null, track: null, map: null, ticket: 0 };

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

async function ask(path) {
  const answer = await fetch(path, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(answer.status === 401 ? "Your login has ended: log in to Airflow again."
    : answer.status === 403 ? "Your Airflow role may not see this."
    : answer.status === 503 ? "The ledger cannot be reached at the moment."
    : `The server answered ${answer.status}.`);
  return answer;
}

function say(problem) { $("notice").textContent = problem ? problem.message : ""; }

const day = (text) => (text ? text.slice(0, 10) : "none yet");
const moment = (text) => (text ? `${text.slice(0, 10)} ${text.slice(11, 16)} UTC` : "none yet");
export const rate = (value, half) => value === null || value === undefined ? "not enough data"
  : `${value.toFixed(1)} ± ${half === null || half === undefined ? "?" : half.toFixed(1)} mm/yr`;

// ---- choosing ---------------------------------------------------------------------------------------------------

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => {
    const option = element("option", "", text);
    option.value = value;
    return option;
  }));
}

async function loadOverview() {
  state.sites = (await (await ask("api/overview")).json()).sites;
  if (!state.sites.length) throw new Error("No mine is watched yet: add a site file.");
  fill($("site"), state.sites.map((site) => [site.name, site.title]));
  const wanted = new URLSearchParams(location.search).get("site");
  const first = state.sites.find((site) => site.name === wanted) ?? state.sites.find((site) => site.tracks.some((track) => track.revision_number !== null));
  if (first) $("site").value = first.name;
  await chooseSite();
}

async function chooseSite() {
  state.site = state.sites.find((site) => site.name === $("site").value);
  fill($("track"), state.site.tracks.map((track) => [track.name, `${track.name} (${track.direction})`]));
  $("tracks").replaceChildren(...state.site.tracks.map(card));
  await Promise.all([chooseTrack(), showAlerts()]);
}

async function chooseTrack() {
  state.track = state.site.tracks.find((track) => track.name === $("track").value);
  $("history-body").replaceChildren(element("p", "hint", "Click a pixel of the map."));
  state.map.forget();
  readout(null);
  await Promise.all([showVelocities(), showZones(), showBlindSpots()]);
}

const trackPath = () => `api/sites/${encodeURIComponent(state.site.name)}/tracks/${encodeURIComponent(state.track.name)}`;

// ---- freshness and completeness ---------------------------------------------------------------------------------

const STATES = [["used", "used"], ["pending", "waiting"], ["superseded", "superseded"], ["rejected", "rejected"],
  ["unavailable", "unavailable"], ["new", "unexplained"]];

function card(track) {
  const box = element("article", "card");
  const title = element("h3", "", track.name);
  title.append(element("small", "", `${track.direction}, relative orbit ${track.relative_orbit}`));
  const facts = element("dl", "facts");
  const revision = track.revision_number === null ? "none yet" : `number ${track.revision_number}, ${moment(track.published_at)}`;
  for (const [name, value] of [["Last acquisition seen", day(track.last_acquisition)], ["Last one in the results", day(track.last_epoch)],
    ["Results published", revision], ["Catalogue asked", moment(track.searched_at)], ["Interferograms on order", String(track.open_jobs)],
    ...(track.provisional ? [["Provisional", `${track.provisional} acquisitions: ${track.provisional_why}; results may still change`]] : [])]) {
    facts.append(element("dt", "", name), element("dd", "", value));
  }
  const bar = element("div", "bar");
  const total = STATES.reduce((sum, [key]) => sum + (track.acquisitions[key] ?? 0), 0);
  for (const [key] of STATES) {
    const count = track.acquisitions[key] ?? 0;
    if (!count) continue;
    const part = element("span", key);
    part.style.width = `${100 * count / total}%`;
    bar.append(part);
  }
  const counts = element("p", "counts", total ? `${total} acquisitions: ` : "no acquisition yet");
  STATES.filter(([key]) => track.acquisitions[key]).forEach(([key, word], index) => counts.append(index ? ", " : "",
    element("span", key === "new" ? "alarm" : "", `${track.acquisitions[key]} ${word}`)));
  box.append(title, facts, bar, counts);
  return box;
}

// ---- map --------------------------------------------------------------------------------------------------------

async function showVelocities() {
  const ticket = ++state.ticket;
  const answer = await ask(`${trackPath()}/velocities?window=${$("window").value}`);
  const buffer = await answer.arrayBuffer();
  if (ticket !== state.ticket) return;  // a later choice has overtaken this one
  const pixels = state.track.columns * state.track.rows;
  state.map.show(state.track, new Int16Array(buffer, 0, pixels), new Uint8Array(buffer, 2 * pixels, pixels), NO_DATA, Number($("scale").value));
  colourBar($("legend-bar"));
  $("legend-low").textContent = `−${$("scale").value} mm/yr (away)`;
  $("legend-high").textContent = `+${$("scale").value} (toward)`;
}

async function showZones() {
  state.map.showZones((await (await ask(`${trackPath()}/zones`)).json()).zones);
}

async function showBlindSpots() {
  const { track } = state;
  const { kinds } = await (await ask(`${trackPath()}/blind-spots`)).json();
  if (track === state.track) state.map.showBlindSpots(kinds);
}

function readout(place) {
  $("readout").textContent = !place ? "" : place.value === null ? "no data" : `${place.value.toFixed(1)} mm/yr${place.reliable ? "" : ", not reliable"}`;
  if (place?.blind && $("blind").checked) $("readout").textContent += ` — ${place.blind}`;
}

// ---- history of a point -----------------------------------------------------------------------------------------

async function showHistory({ row, column }) {
  const body = $("history-body");
  const answer = await fetch(`${trackPath()}/history?row=${row}&column=${column}`, { credentials: "same-origin" });
  if (answer.status === 404) {
    body.replaceChildren(element("p", "hint", "No data here. That does not mean that the ground is stable."));
    return;
  }
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  const point = await answer.json();
  const table = element("table");
  for (const [name, value] of [["Last 150 days", rate(point.velocity_150d_mm_yr, point.velocity_150d_half_interval_mm_yr)],
    ["Last 365 days", rate(point.velocity_365d_mm_yr, point.velocity_365d_half_interval_mm_yr)],
    ["Whole record", rate(point.velocity_mm_yr, point.velocity_half_interval_mm_yr)],
    ["Reliable", point.reliable ? "yes" : `no: ${point.why_not ?? "see the documentation"}`],
    ...(point.blind ? [["Blind spot", point.blind]] : []),
    ["Point", `${point.point_id} at ${point.latitude.toFixed(5)} N, ${point.longitude.toFixed(5)} E`]]) {
    const line = element("tr");
    line.append(element("th", "", name), element("td", "", value));
    table.append(line);
  }
  body.replaceChildren(historyChart(point.dates, point.displacement_mm, point.provisional), table,
    element("p", "fine", `Line-of-sight displacement since the first date; velocities with 95 % intervals.${point.provisional.includes(true)
      ? " Hollow points are provisional: better weather or orbit data may replace what they stand on." : ""}`));
}

// ---- alerts -----------------------------------------------------------------------------------------------------

async function showAlerts() {
  const { alerts } = await (await ask(`api/sites/${encodeURIComponent(state.site.name)}/alerts`)).json();
  const list = $("alert-list");
  if (!alerts.length) {
    list.replaceChildren(element("p", "hint", "No alert has been raised. InSAR does not see everything: steep, wet or fast-moving ground can be blank on the map."));
    return;
  }
  list.replaceChildren(...alerts.map((alert) => {
    const box = element("article", `alert level-${Number(alert.level)} ${["raised", "clearing", "cleared", "merged"].includes(alert.state) ? alert.state : ""}`);
    const show = element("button", "", alert.zone_name);
    show.type = "button";
    show.addEventListener("click", () => guarded(() => goTo(alert)));
    const open = alert.state === "raised" || alert.state === "clearing";
    const head = element("div");
    head.append(show, element("span", "badge", open ? `level ${alert.level}` : alert.state),
      ...(alert.state === "clearing" ? [element("span", "badge", "slowing down")] : []),
      ...(open && alert.provisional ? [element("span", "badge", "provisional")] : []));
    box.append(head, ...told(alert.sentence ?? ""),
      element("p", "fine", `${alert.track}, raised ${day(alert.raised_epoch)}, last seen ${day(alert.last_epoch)}${alert.cleared_epoch ? `, cleared ${day(alert.cleared_epoch)}` : ""}`));
    return box;
  }));
}

/** The level, what moves and how fast at once; how sure and what cannot be seen on demand. */
function told(sentence) {
  const first = sentence.indexOf(". ");
  const end = sentence.startsWith("Level ") ? sentence.indexOf(". ", first + 1) : first;
  if (end < 0) return [element("p", "", sentence)];
  const rest = element("details");
  rest.append(element("summary", "", "How sure, since when, what InSAR cannot see"), element("p", "", sentence.slice(end + 2)));
  return [element("p", "", sentence.slice(0, end + 1)), rest];
}

async function goTo(alert) {
  if (alert.track !== state.track.name) {
    $("track").value = alert.track;
    await chooseTrack();
  }
  state.map.goToZone(alert.zone_id);
}

// ---- start ------------------------------------------------------------------------------------------------------

async function guarded(act) {
  try { say(null); await act(); } catch (problem) { say(problem); }
}

state.map = new VelocityMap($("map"), { hover: readout, click: (place) => guarded(() => showHistory(place)) });
$("site").addEventListener("change", () => guarded(chooseSite));
$("track").addEventListener("change", () => guarded(chooseTrack));
$("blind").addEventListener("change", () => state.map.hatch($("blind").checked));
$("window").addEventListener("change", () => guarded(showVelocities));
$("scale").addEventListener("change", () => guarded(showVelocities));
guarded(loadOverview);

// A point's displacement history as SVG.
const NS = "http://www.w3.org/2000/svg";
const WIDTH = 460, HEIGHT = 240, LEFT = 46, RIGHT = 10, TOP = 16, BOTTOM = 26;

function node(name, attributes, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Round steps that give about `wanted` lines over a span. */
function niceStep(span, wanted) {
  const raw = span / wanted, power = 10 ** Math.floor(Math.log10(raw));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
}

export function historyChart(dates, displacement_mm, provisional = []) {
  const days = dates.map((text) => Date.parse(text) / 86400000);
  const seen = displacement_mm.filter((value) => value !== null);
  const low = Math.min(0, ...seen), high = Math.max(0, ...seen), pad = Math.max(2, 0.08 * (high - low));
  const from = days[0], to = Math.max(days.at(-1), from + 1), bottom = low - pad, top = high + pad;
  const x = (day) => LEFT + (WIDTH - LEFT - RIGHT) * (day - from) / (to - from);
  const y = (mm) => TOP + (HEIGHT - TOP - BOTTOM) * (top - mm) / (top - bottom);
  const chart = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Line-of-sight displacement in millimetres over time" });
  const step = niceStep(top - bottom, 5);
  for (let mm = Math.ceil(bottom / step) * step; mm <= top; mm += step) {
    const zero = Math.abs(mm) < step / 2;
    chart.append(node("line", { class: zero ? "zero" : "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(mm), y2: y(mm) }),
      node("text", { x: LEFT - 6, y: y(mm) + 4, "text-anchor": "end" }, String(Math.round(mm * 10) / 10)));
  }
  const labels = Math.min(5, dates.length);
  for (let index = 0; index < labels; index += 1) {
    const at = labels === 1 ? 0 : Math.round(index * (dates.length - 1) / (labels - 1));
    chart.append(node("text", { x: x(days[at]), y: HEIGHT - 8, "text-anchor": index === 0 ? "start" : index === labels - 1 ? "end" : "middle" }, dates[at].slice(0, 7)));
  }
  chart.append(node("text", { x: 2, y: 11 }, "mm, line of sight"));
  let path = "", drawing = false;
  displacement_mm.forEach((mm, index) => {
    if (mm === null) { drawing = false; return; }  // a gap stays a gap
    path += `${drawing ? "L" : "M"}${x(days[index]).toFixed(1)} ${y(mm).toFixed(1)}`;
    drawing = true;
  });
  chart.append(node("path", { class: "curve", d: path }));
  displacement_mm.forEach((mm, index) => {
    if (mm === null) return;
    const dot = node("circle", { class: provisional[index] ? "dot provisional" : "dot", cx: x(days[index]), cy: y(mm), r: 2.6 });
    dot.append(node("title", {}, `${dates[index]}: ${mm.toFixed(1)} mm${provisional[index] ? ", provisional" : ""}`));
    chart.append(dot);
  });
  return chart;
}

// The map: one bitmap of the track's grid, drawn on a canvas, with the zones over it. No tiles, nothing from outside.

// From away from the satellite (dark red) through nothing (pale) to toward it (blue); readable without red-green vision.
const STOPS = [[103, 0, 31], [178, 24, 43], [214, 96, 77], [244, 165, 130], [247, 244, 238], [146, 197, 222], [67, 147, 195], [33, 102, 172], [5, 48, 97]];

function colour(share) {
  const place = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
  const index = Math.min(STOPS.length - 2, Math.floor(place)), part = place - index;
  return STOPS[index].map((value, channel) => Math.round(value + part * (STOPS[index + 1][channel] - value)));
}

export function colourBar(canvas) {
  const pen = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x += 1) {
    pen.fillStyle = `rgb(${colour(x / (canvas.width - 1)).join(" ")})`;
    pen.fillRect(x, 0, 1, canvas.height);
  }
}

export class VelocityMap {
  constructor(canvas, { hover, click }) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.hover = hover;
    this.click = click;
    this.zones = [];
    this.blindShown = true;
    this.track = null;
    this.picked = null;
    this.drag = null;
    new ResizeObserver(() => { this.#fitCanvas(); this.draw(); }).observe(canvas);
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.#zoom(event.deltaY < 0 ? 1.25 : 0.8, event.offsetX, event.offsetY); }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { this.drag = { x: event.offsetX, y: event.offsetY, moved: false }; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => this.#moved(event));
    canvas.addEventListener("pointerup", (event) => this.#released(event));
    canvas.addEventListener("pointerleave", () => this.hover(null));
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Forget the view and what was picked, for another grid. */
  forget() { this.view = null; this.picked = null; this.zones = []; }

  /** velocity in tenths of mm/yr, 1 where reliable, 1 where blind, row by row; the colours end at ±scale mm/yr. */
  show(track, tenths, reliable, blind, noData, scale) {
    Object.assign(this, { track, tenths, reliable, blind, noData });
    const image = new ImageData(track.columns, track.rows);
    for (let index = 0; index < tenths.length; index += 1) {
      if (tenths[index] === noData) continue;
      const [red, green, blue] = colour(0.5 + tenths[index] / 10 / (2 * scale));
      image.data.set([red, green, blue, reliable[index] ? 255 : 70], 4 * index);
    }
    this.bitmap = document.createElement("canvas");
    this.bitmap.width = track.columns;
    this.bitmap.height = track.rows;
    this.bitmap.getContext("2d").putImageData(image, 0, 0);
    this.#fitCanvas();
    if (!this.view) this.#showEverything();
    this.draw();
  }

  showBlind(shown) { this.blindShown = shown; this.draw(); }

  showZones(zones) { this.zones = zones; this.draw(); }

  goToZone(id) {
    const zone = this.zones.find((candidate) => candidate.id === id);
    if (!zone) return;
    const points = zone.polygons.flat(2), columns = points.map(([c]) => c), rows = points.map(([, r]) => r);
    const box = [Math.min(...columns), Math.min(...rows), Math.max(...columns), Math.max(...rows)];
    const side = 4 * Math.max(box[2] - box[0], box[3] - box[1], 4);
    const scale = Math.min(this.canvas.width, this.canvas.height) / side;
    this.view = { scale, x: this.canvas.width / 2 - scale * (box[0] + box[2]) / 2, y: this.canvas.height / 2 - scale * (box[1] + box[3]) / 2 };
    this.draw();
  }

  draw() {
    const { pen, canvas, view } = this;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.bitmap || !view) return;
    pen.setTransform(view.scale, 0, 0, view.scale, view.x, view.y);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.bitmap, 0, 0);
    if (this.blindShown) this.#drawBlind();
    this.#drawZones();
    if (this.picked) {
      pen.lineWidth = 2.5 / view.scale;
      pen.strokeStyle = "#00a5a5";
      pen.strokeRect(this.picked.column - 0.5, this.picked.row - 0.5, 2, 2);
    }
    this.#drawScaleBar();
  }

  /** Hatching, so that the colours under it can still be read. */
  #drawBlind() {
    const { pen, view, track, blind } = this;
    pen.beginPath();
    for (let index = 0; index < blind.length; index += 1) {
      if (!blind[index]) continue;
      const column = index % track.columns, row = Math.floor(index / track.columns);
      pen.moveTo(column, row + 1);
      pen.lineTo(column + 1, row);
    }
    for (const [width, style] of [[3, "#1d2420"], [1.5, "#f2c037"]]) {
      pen.lineWidth = Math.min(width / view.scale * devicePixelRatio, width / 8);
      pen.strokeStyle = style;
      pen.stroke();
    }
  }

  #drawZones() {
    const { pen, view } = this;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    for (const zone of this.zones) {
      pen.beginPath();
      for (const polygon of zone.polygons) for (const ring of polygon) ring.forEach(([c, r], index) => (index ? pen.lineTo(c, r) : pen.moveTo(c, r)));
      pen.closePath();
      pen.lineWidth = 2 / view.scale * devicePixelRatio;
      pen.setLineDash(zone.alerted ? [] : [4 / view.scale * devicePixelRatio, 4 / view.scale * devicePixelRatio]);
      pen.strokeStyle = dark ? "#e6ece8" : "#1d2420";
      pen.stroke();
    }
    pen.setLineDash([]);
  }

  #drawScaleBar() {
    const { pen, canvas, view } = this;
    const ratio = devicePixelRatio, most = 140 * ratio * this.track.pixel_m / view.scale, power = 10 ** Math.floor(Math.log10(most));
    const metres = power * ([5, 2, 1].find((factor) => factor * power <= most) ?? 1), width = metres / this.track.pixel_m * view.scale;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = 2 * ratio;
    pen.font = `${12 * ratio}px system-ui, sans-serif`;
    const right = canvas.width - 14 * ratio, base = canvas.height - 14 * ratio;
    pen.beginPath();
    pen.moveTo(right - width, base - 5 * ratio); pen.lineTo(right - width, base); pen.lineTo(right, base); pen.lineTo(right, base - 5 * ratio);
    pen.stroke();
    pen.textAlign = "center";
    pen.fillText(metres >= 1000 ? `${metres / 1000} km` : `${metres} m`, right - width / 2, base - 7 * ratio);
  }

  #fitCanvas() {
    const width = Math.round(this.canvas.clientWidth * devicePixelRatio), height = Math.round(this.canvas.clientHeight * devicePixelRatio);
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    if (this.bitmap) this.#showEverything();
  }

  #showEverything() {
    const { columns, rows } = this.track;
    const scale = 0.96 * Math.min(this.canvas.width / columns, this.canvas.height / rows);
    this.view = { scale, x: (this.canvas.width - scale * columns) / 2, y: (this.canvas.height - scale * rows) / 2 };
  }

  #zoom(factor, offsetX = this.canvas.clientWidth / 2, offsetY = this.canvas.clientHeight / 2) {
    if (!this.view) return;
    const x = offsetX * devicePixelRatio, y = offsetY * devicePixelRatio;
    const scale = Math.min(200, Math.max(0.2, this.view.scale * factor)), applied = scale / this.view.scale;
    this.view = { scale, x: x - applied * (x - this.view.x), y: y - applied * (y - this.view.y) };
    this.draw();
  }

  #place(event) {
    if (!this.view || !this.track) return null;
    const column = Math.floor((event.offsetX * devicePixelRatio - this.view.x) / this.view.scale);
    const row = Math.floor((event.offsetY * devicePixelRatio - this.view.y) / this.view.scale);
    if (row < 0 || column < 0 || row >= this.track.rows || column >= this.track.columns) return null;
    const index = row * this.track.columns + column, tenths = this.tenths[index];
    return { row, column, value: tenths === this.noData ? null : tenths / 10, reliable: Boolean(this.reliable[index]), blind: Boolean(this.blind[index]) };
  }

  #moved(event) {
    if (this.drag) {
      const dx = event.offsetX - this.drag.x, dy = event.offsetY - this.drag.y;
      if (!this.drag.moved && Math.hypot(dx, dy) < 4) return;
      this.drag = { x: event.offsetX, y: event.offsetY, moved: true };
      this.#shift(dx * devicePixelRatio, dy * devicePixelRatio);
      return;
    }
    this.hover(this.#place(event));
  }

  #released(event) {
    const clicked = this.drag && !this.drag.moved;
    this.drag = null;
    const place = clicked ? this.#place(event) : null;
    if (!place) return;
    this.picked = place;
    this.draw();
    this.click(place);
  }

  #shift(dx, dy) {
    if (!this.view) return;
    this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy };
    this.draw();
  }

  #key(event) {
    const acts = { "+": () => this.#zoom(1.25), "-": () => this.#zoom(0.8), 0: () => { this.#showEverything(); this.draw(); },
      ArrowLeft: () => this.#shift(40, 0), ArrowRight: () => this.#shift(-40, 0), ArrowUp: () => this.#shift(0, 40), ArrowDown: () => this.#shift(0, -40) };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }
}

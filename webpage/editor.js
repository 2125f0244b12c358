// The editor: the photo tinted with the proposal, and the visitor's marks over it. `element` is its root, and
// `trigger` fires its events: "upload" for a new photo, "select" for a new box.
const $ = (selector) => element.querySelector(selector);
const frame = $(".frame"), base = $("canvas.photo"), sheet = $("canvas.marks"), arriving = $(".arriving");
const SIDE = Number(frame.dataset.side), LONGEST = Number(frame.dataset.longest);  // of the strokes that are sent
const LOCAL_SIDE = 2560, LARGEST_ZOOM = 8, TINT = 0.5, STROKE = 0.8, LEAST_BOX = 0.02;
const brushes = Object.fromEntries([...element.querySelectorAll("[data-colour]")].map(
    (button) => [button.dataset.tool, button.dataset]));
const strokes = document.createElement("canvas");
let photo = null, local = null, tint = null, marks = [], shown = null;
let tool = "box", view = {zoom: 1, x: 0, y: 0}, current = null;
const pointers = new Map();

// ---- The view ----

// Sizes the frame to the photo, which fills it.
function fit() {
    frame.classList.toggle("empty", !photo);
    $(".tools").classList.toggle("unused", !photo);
    document.getElementById("controls")?.classList.toggle("unused", !photo);
    if (!photo) return frame.removeAttribute("style");
    const across = element.clientWidth, high = Math.max(240, window.innerHeight * 0.57);
    const scale = Math.min(across / photo.width, high / photo.height);
    frame.style.width = `${photo.width * scale}px`;
    frame.style.height = `${photo.height * scale}px`;
    for (const canvas of [base, sheet]) {
        canvas.width = Math.round(photo.width * scale * devicePixelRatio);
        canvas.height = Math.round(photo.height * scale * devicePixelRatio);
    }
    draw();
}

function prepared(canvas) {
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(view.zoom, 0, 0, view.zoom, view.x * canvas.width, view.y * canvas.height);
    return context;
}

function draw() {
    if (!photo) return;
    const context = prepared(base);
    context.imageSmoothingQuality = "high";
    context.drawImage(photo, 0, 0, base.width, base.height);
    if (tint && isTinted()) {
        context.globalAlpha = TINT;
        context.drawImage(tint, 0, 0, base.width, base.height);
        context.globalAlpha = 1;
    }
    $(".zoom").textContent = `${Math.round(100 * view.zoom)} %`;
    drawMarks();
}

function drawMarks() {
    const context = prepared(sheet), box = current?.box ?? lastBox();
    if (!isTinted()) return;
    context.globalAlpha = STROKE;
    context.drawImage(strokes, 0, 0, sheet.width, sheet.height);
    context.globalAlpha = 1;
    if (!box) return;
    const [left, top, right, bottom] = box.map((share, i) => share * (i % 2 ? sheet.height : sheet.width));
    context.lineWidth = 2 * devicePixelRatio / view.zoom;
    for (const [colour, dash] of [["#000", []], ["#fff", [8, 8]]]) {
        context.strokeStyle = colour;
        context.setLineDash(dash.map((length) => length * devicePixelRatio / view.zoom));
        context.strokeRect(left, top, right - left, bottom - top);
    }
}

// Whether tint and marks are shown.
function isTinted() {
    return $(".tinted").getAttribute("aria-pressed") === "true";
}

// Zooms by a factor around a place given as shares of the frame, and moves by shares of it.
function zoomAt(factor, x = 0.5, y = 0.5, across = 0, down = 0) {
    const zoom = Math.min(LARGEST_ZOOM, Math.max(1, view.zoom * factor)), scale = zoom / view.zoom;
    const kept = (offset) => Math.min(0, Math.max(1 - zoom, offset));
    view = {zoom, x: kept(x - (x - view.x) * scale + across), y: kept(y - (y - view.y) * scale + down)};
    draw();
}

// ---- Marks ----

function lastBox() {
    return marks.findLast((mark) => mark.box)?.box ?? null;
}

function changed() {
    matting.changed();
    redo();
}

function redo() {
    strokes.getContext("2d").clearRect(0, 0, strokes.width, strokes.height);
    for (const mark of marks) stroke(mark);
    drawMarks();
}

// Draws a stroke from a point on; points are shares of the photo, the width is a share of its width.
function stroke(mark, from = 0) {
    if (!mark.points) return;
    const context = strokes.getContext("2d"), erases = mark.tool === "eraser";
    context.globalCompositeOperation = erases ? "destination-out" : "source-over";
    context.strokeStyle = erases ? "#000" : brushes[mark.tool].colour;
    context.lineWidth = mark.width * strokes.width;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    const points = mark.points.slice(Math.max(0, from - 1));
    points.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x * strokes.width, y * strokes.height));
    if (points.length === 1) context.lineTo(points[0][0] * strokes.width + 0.01, points[0][1] * strokes.height);
    context.stroke();
}

// The strokes as a file of the brushes' flat colours, at most LONGEST characters; null without strokes.
function flatStrokes() {
    const copy = document.createElement("canvas");
    for (let scale = 1; scale > 0.1; scale /= 2) {
        copy.width = Math.max(1, Math.round(strokes.width * scale));
        copy.height = Math.max(1, Math.round(strokes.height * scale));
        const context = copy.getContext("2d");
        context.drawImage(strokes, 0, 0, copy.width, copy.height);
        const picture = context.getImageData(0, 0, copy.width, copy.height), data = picture.data;
        const colours = Object.values(brushes).map(({colour}) => rgb(colour));
        let painted = false;
        for (let i = 0; i < data.length; i += 4) {
            const distance = ([r, g, b]) => (data[i] - r) ** 2 + (data[i + 1] - g) ** 2 + (data[i + 2] - b) ** 2;
            const nearest = colours.reduce((best, colour) => distance(colour) < distance(best) ? colour : best);
            const flat = data[i + 3] >= 128 ? [...nearest, 255] : [0, 0, 0, 0];
            painted ||= flat[3] > 0;
            data.set(flat, i);
        }
        if (!painted) return null;
        context.putImageData(picture, 0, 0);
        const url = copy.toDataURL("image/png");
        if (url.length <= LONGEST) return url;
    }
    return null;
}

function rgb(colour) {
    return [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
}

matting.marks = () => ({box: lastBox(), strokes: photo ? flatStrokes() : null});

// ---- Pointers: one paints, two move and zoom ----

// Shares of the frame, and of the photo.
function place(event) {
    const area = frame.getBoundingClientRect();
    return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
}

function onPhoto([x, y]) {
    return [(x - view.x) / view.zoom, (y - view.y) / view.zoom].map((share) => Math.min(1, Math.max(0, share)));
}

function boxBetween([x1, y1], [x2, y2]) {
    return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
}

sheet.addEventListener("pointerdown", (event) => {
    if (!photo || event.button > 0) return;
    event.preventDefault();
    sheet.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    if (pointers.size > 1) {  // a second finger: what the first began is undone
        current = null;
        return redo();
    }
    const start = onPhoto(place(event));
    if (!isTinted()) DO.tint();
    const width = Number($(".size").value) / (frame.clientWidth * view.zoom);
    current = tool === "box" ? {start, box: null} : {tool, width, points: [start]};
    stroke(current);
    drawMarks();
});

sheet.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = [...pointers.values()];
    pointers.set(event.pointerId, place(event));
    if (pointers.size === 2) return pinch(before, [...pointers.values()]);
    if (!current) return;
    if (current.points) {
        const length = current.points.length;
        const steps = event.getCoalescedEvents?.() ?? [];
        current.points.push(...(steps.length ? steps : [event]).map((step) => onPhoto(place(step))));
        stroke(current, length);
    } else {
        current.box = boxBetween(current.start, onPhoto(place(event)));
    }
    drawMarks();
});

function pinch([a, b], [c, d]) {
    const apart = ([x1, y1], [x2, y2]) => Math.hypot((x1 - x2) * frame.clientWidth, (y1 - y2) * frame.clientHeight);
    const [x, y] = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    zoomAt(apart(c, d) / Math.max(1, apart(a, b)), x, y, (c[0] + d[0]) / 2 - x, (c[1] + d[1]) / 2 - y);
}

for (const name of ["pointerup", "pointercancel"]) {
    sheet.addEventListener(name, (event) => {
        if (!pointers.delete(event.pointerId) || !current) return;
        const mark = current, box = mark.box;
        current = null;
        if (name === "pointercancel") return redo();
        if (mark.points) marks.push(mark);
        else if (box && box[2] - box[0] > LEAST_BOX && box[3] - box[1] > LEAST_BOX) {
            marks.push({box});
            trigger("select");
        }
        else return drawMarks();
        matting.changed();
        drawMarks();
    });
}

sheet.addEventListener("wheel", (event) => {
    if (!photo || !(event.ctrlKey || view.zoom > 1)) return;
    event.preventDefault();
    if (event.ctrlKey) return zoomAt(Math.exp(-event.deltaY / 200), ...place(event));
    zoomAt(1, 0, 0, -event.deltaX / frame.clientWidth, -event.deltaY / frame.clientHeight);
}, {passive: false});

// ---- Tools ----

const DO = {
    undo: () => { if (marks.pop()) changed(); }, clear: () => { if (marks.splice(0).length) changed(); },
    tint: () => { $(".tinted").setAttribute("aria-pressed", String(!isTinted())); draw(); },
    in: () => zoomAt(1.5), out: () => zoomAt(1 / 1.5), choose: () => $(".file").click(),
};
element.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.tool) choose(button.dataset.tool);
    else DO[button?.dataset.do]?.();
});
document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z" && !event.target.matches("input, textarea")) {
        event.preventDefault();
        DO.undo();
    }
});

function choose(name) {
    tool = name;
    for (const button of element.querySelectorAll(".tool")) {
        button.setAttribute("aria-pressed", String(button.dataset.tool === name));
    }
}

choose(tool);
new ResizeObserver(fit).observe(element);
fit();

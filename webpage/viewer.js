// The results, one at a time: fitted, or at 100 % to look at the edge. `element` is the viewer's root.
const matting = window.matting ??= {};
const image = element.querySelector("img"), stage = element.querySelector(".stage");
const full = element.querySelector(".full");
let pictures = {}, chosen = "cutout", drag = null, centre = null;

function show(name) {
    chosen = name;
    for (const part of element.querySelectorAll("[data-view]")) {
        part.setAttribute("aria-selected", String(part.dataset.view === name));
    }
    update();
}

// The file behind an address may change with the background.
function update() {
    const picture = pictures[chosen], large = full.getAttribute("aria-pressed") === "true";
    if (!picture) return;
    stage.classList.toggle("large", large);
    image.alt = chosen;
    image.src = large ? `${picture.full.url}?${picture.shown.path.split("/").at(-2)}` : picture.shown.url;
}

// Fits the picture into the stage, or shows each of its pixels as one of the screen.
function size() {
    const high = 0.57 * window.innerHeight, shape = image.naturalWidth / image.naturalHeight;
    const fitted = Math.min(stage.clientWidth, high * shape), large = stage.classList.contains("large");
    image.style.width = `${large ? image.naturalWidth / devicePixelRatio : fitted}px`;
}

// Turns 100 % on or off, around a place given as shares of the picture.
function enlarge(on, x = 0.5, y = 0.5) {
    full.setAttribute("aria-pressed", String(on));
    if (on) stage.style.height = `${Math.max(stage.clientHeight, 240)}px`;
    else stage.style.removeProperty("height");
    centre = [x, y];
    update();
}

image.addEventListener("load", () => {
    size();
    if (!centre) return;
    const [x, y] = centre;
    stage.scrollTo(x * image.width - stage.clientWidth / 2, y * image.height - stage.clientHeight / 2);
    centre = null;
});
new ResizeObserver(() => image.naturalWidth && size()).observe(element);

// Shows the results, or hides those of an earlier photo.
matting.results = (there) => {
    document.getElementById("results")?.classList.toggle("there", there);
    document.getElementById("intro")?.classList.toggle("unused", there);
};

matting.result = (view, name) => {
    if (!view) return;
    matting.results(true);
    Object.assign(pictures, view);
    show(name ?? chosen);
    if (!name) {
        matting.computed();
        const place = element.getBoundingClientRect();
        if (place.top > window.innerHeight * 0.7 || place.top < 0) element.scrollIntoView({behavior: "smooth"});
    }
};

element.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) show(tab.dataset.view);
    else if (event.target === full) enlarge(full.getAttribute("aria-pressed") !== "true");
});

// A click on the picture enlarges there; dragging moves the enlarged one.
stage.addEventListener("pointerdown", (event) => {
    drag = {x: event.clientX, y: event.clientY, moved: false};
});
stage.addEventListener("pointermove", (event) => {
    if (!drag) return;
    drag.moved ||= Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 4;
    if (event.pointerType === "mouse" && drag.moved) {
        stage.scrollBy(-event.movementX, -event.movementY);
    }
});
stage.addEventListener("pointerup", (event) => {
    if (drag && !drag.moved) {
        const area = image.getBoundingClientRect();
        enlarge(full.getAttribute("aria-pressed") !== "true", (event.clientX - area.left) / area.width,
                (event.clientY - area.top) / area.height);
    }
    drag = null;
});
for (const name of ["pointercancel", "pointerleave"]) stage.addEventListener(name, () => { drag = null; });
image.draggable = false;

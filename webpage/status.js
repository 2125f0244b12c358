// What the page is doing, told at once: buttons and a line beside them change on the click, before the server answers.
const matting = window.matting ??= {};
const WORDS = {photo: "Reading the photo…", propose: "Finding the subject…", run: "Cutting out…",
               load: "Reading the file…", background: "Changing the background…"};
const running = new Set();
const changes = {now: 0, sent: 0, shown: 0};  // of marks and tint: how many, before the request, before the result

function tell() {
    const latest = [...running].at(-1);
    document.body.classList.toggle("matting-busy", running.size > 0);
    for (const key of ["run", "propose"]) {
        const button = document.getElementById(key);
        button?.classList.toggle("working", running.has(key));
        if (button) button.inert = running.has(key);  // for the keyboard, too
    }
    const waiting = {samples: running.size > 0, load: running.size > 0,
                     actions: running.has("photo") || running.has("load")};
    for (const [name, isWaiting] of Object.entries(waiting)) {
        const part = document.getElementById(name);
        part?.classList.toggle("waiting", isWaiting);
        if (part) part.inert = isWaiting;
    }
    const line = document.querySelector("#progress .busy");
    if (line) line.textContent = latest ? WORDS[latest] : "";
}

// Called with the inputs of an event as it starts; returns them.
matting.started = (key, values = []) => {
    running.add(key);
    tell();
    return key === "photo" && !values.length ? [matting.uploaded] : values;
};

function tellChanges() {
    document.getElementById("results")?.classList.toggle("stale", changes.shown !== changes.now);
}

// Marks or tint are others than before.
matting.changed = () => {
    changes.now += 1;
    tellChanges();
};

// The result of the last "Cut out" is there.
matting.computed = () => {
    changes.shown = changes.sent;
    tellChanges();
};

// As `started`, with the marks in place of the second input; boxOnly: without the strokes.
matting.sent = (key, values, boxOnly = false) => {
    const marks = matting.marks();
    values[1] = boxOnly ? {...marks, strokes: null} : marks;
    if (key === "run") changes.sent = changes.now;
    return matting.started(key, values);
};

matting.finished = (key) => {
    running.delete(key);
    tell();
};

// Photos come and go: dropped, pasted or chosen ones are shown at once and uploaded; answers of the server are shown.
// Follows editor.js.
function refuse(message) {
    const line = $(".refused");
    line.textContent = message;
    line.hidden = !message;
}

function arrived(text) {
    arriving.textContent = text;
    arriving.hidden = !text;
}

// A picture, reduced to LOCAL_SIDE pixels a side.
async function loaded(url) {
    const image = new Image();
    image.src = url;
    await image.decode();
    const scale = Math.min(1, LOCAL_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
    canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return canvas;
}

// Puts a photo, or none, into the frame, without marks.
function putPhoto(picture) {
    photo = picture;
    tint = current = null;
    marks = [];
    view = {zoom: 1, x: 0, y: 0};
    if (photo) {
        const scale = Math.min(1, SIDE / Math.max(photo.width, photo.height));
        strokes.width = Math.max(1, Math.round(photo.width * scale));
        strokes.height = Math.max(1, Math.round(photo.height * scale));
    }
    fit();
}

// The trimap's grey levels in the brushes' colours.
async function tinted(url) {
    const canvas = await loaded(url), context = canvas.getContext("2d");
    const picture = context.getImageData(0, 0, canvas.width, canvas.height), data = picture.data;
    const colours = new Map(Object.values(brushes).map(({level, colour}) => [Number(level), [...rgb(colour), 255]]));
    for (let i = 0; i < data.length; i += 4) data.set(colours.get(data[i]) ?? [0, 0, 0, 0], i);
    context.putImageData(picture, 0, 0);
    return canvas;
}

// Shows what the server answers: {number, photo, tint}; without `photo` the present one stays. One after the other.
// `key` as in `matting.started`.
let latest = Promise.resolve();
matting.show = (answer, key) => {
    latest = latest.then(() => showAnswer(answer, key)).catch((error) => refuse(String(error)));
};

async function showAnswer(answer, key) {
    if (!answer || answer.number === shown) return;
    shown = answer.number;
    if (key !== "run") matting.changed();
    refuse("");
    arrived("");
    const given = answer.photo && await loaded(answer.photo.url);
    const tintGiven = answer.tint && await tinted(answer.tint.url);
    if ("photo" in answer) matting.results?.(false);
    if (given) {
        const same = local && Math.abs(local.width / local.height / (given.width / given.height) - 1) < 0.02;
        putPhoto(same ? local : given);
        local = null;
    } else if (answer.photo === null) {
        local = null;
        putPhoto(null);
    }
    tint = tintGiven;
    draw();
}

async function preview(file) {
    const url = URL.createObjectURL(file);
    try {
        local = await loaded(url);
        putPhoto(local);
    } catch {  // a format that only the server reads
        local = null;
    } finally {
        URL.revokeObjectURL(url);
    }
}

function send(file) {
    if (!file) return;
    if (document.body.classList.contains("matting-busy")) return refuse("Wait until the page is done.");
    refuse("");
    matting.started("photo");
    arrived(`Uploading ${file.name || "the photo"}…`);
    const showing = preview(file);
    const form = new FormData(), request = new XMLHttpRequest();
    form.append("files", file, file.name || "pasted.png");
    request.upload.onprogress = ({loaded, total}) => arrived(`Uploading ${Math.floor(100 * loaded / total)} %`);
    const failed = async (message) => {
        await showing;
        local = null;
        putPhoto(null);
        arrived("");
        matting.finished("photo");
        refuse(message);
    };
    request.onerror = () => failed("The upload failed: the connection broke.");
    request.onload = async () => {
        if (request.status !== 200) return failed(reason(request));
        await showing;
        arrived("Reading the photo…");
        matting.uploaded = {path: JSON.parse(request.responseText)[0], meta: {_type: "gradio.FileData"}};
        trigger("upload");
    };
    request.open("POST", `${window.gradio_config?.root ?? ""}/gradio_api/upload`);
    request.send(form);
}

// One line on why an upload was refused.
function reason(request) {
    try {
        return JSON.parse(request.responseText).detail || request.responseText;
    } catch {
        return request.responseText.split("\n")[0].slice(0, 200) || `The upload failed with status ${request.status}.`;
    }
}

$(".file").addEventListener("change", (event) => {
    send(event.target.files[0]);
    event.target.value = "";
});
for (const name of ["dragover", "dragleave", "drop"]) {  // anywhere on the page: else the browser would leave it
    document.addEventListener(name, (event) => {
        if (event.defaultPrevented || !event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        frame.classList.toggle("over", name === "dragover");
        if (name === "drop") send(event.dataTransfer.files[0]);
    });
}
document.addEventListener("paste", (event) => {
    if (!event.defaultPrevented && !event.target.closest?.("#picture")) send(event.clipboardData?.files[0]);
});

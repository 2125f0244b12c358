"""The page's widgets and their arrangement; `webpage.page` holds their events. Needs Gradio."""

from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from matting.trimaps import WIDTHS
from webpage.marks import BRUSHES, LONGEST_MARKS, MARKS_SIDE

COLOUR, PICTURE, BLURRED = "Colour", "Picture", "Blurred photo"
DOWNLOADS = ("Cut-out", "Composite", "Matte", "Trimap")  # in the order of `webpage.results.FILES`
EXPLAINED = {"Cut-out": "The subject with a transparent background.",
             "Composite": "The subject on the new background.",
             "Matte": "The matte: how opaque each pixel of the subject is, white opaque, black transparent.",
             "Trimap": "The trimap, what you marked: white the subject, grey its edge, black the background."}
FONT = ["system-ui", "sans-serif"]
THEME = gr.themes.Default(primary_hue="teal", font=FONT, font_mono=["ui-monospace", "monospace"])
HERE = Path(__file__).parent
CSS = (HERE / "page.css").read_text(encoding="utf-8")
# Beyond what Gradio lets the page's own CSS reach: its margins.
HEAD = """<style>
.gradio-container .main.app { max-width: 1500px; padding: 12px 24px; }
@media (max-width: 640px) { .gradio-container .main.app { padding: 8px 10px; } }
</style>"""

BRUSH_BUTTONS = "".join(
    f'<button type="button" class="tool" data-tool="{name.lower()}" data-colour="{colour}" data-level="{level}">'
    f'<i style="background: {colour}"></i>{name}</button>' for name, (colour, level) in BRUSHES.items())
EDITOR = f"""
<div class="tools" role="toolbar" aria-label="Tools">
<span class="group"><button type="button" class="tool" data-tool="box"><i class="dashed"></i>Box</button>{BRUSH_BUTTONS}
<button type="button" class="tool" data-tool="eraser">Eraser</button></span>
<span class="group"><label>Size<input type="range" class="size" min="4" max="80" value="22" aria-label="Brush size">
</label>
<button type="button" data-do="undo">Undo</button><button type="button" data-do="clear">Clear</button></span>
<span class="group"><button type="button" class="tinted" data-do="tint" aria-pressed="true">Tint</button>
<button type="button" data-do="out" aria-label="Zoom out">−</button><output class="zoom">100 %</output>
<button type="button" data-do="in" aria-label="Zoom in">+</button>
<button type="button" data-do="choose">New photo</button></span></div>
<div class="frame" data-side="{MARKS_SIDE}" data-longest="{LONGEST_MARKS}">
<canvas class="photo"></canvas><canvas class="marks"></canvas>
<div class="drop"><p><b>Drop a photo here</b></p><p><button type="button" data-do="choose">Choose a photo</button></p>
<p>or paste one</p></div><div class="arriving" role="status" hidden></div></div>
<input type="file" class="file" accept="image/*,.tif,.tiff" aria-label="Photo" hidden>
<div class="refused" role="alert" hidden></div>
"""
VIEWER = f"""
<div class="tabs" role="tablist">{"".join(
    f'<button type="button" role="tab" data-view="{name.lower().replace("-", "")}" title="{EXPLAINED[name]}">{name}'
    '</button>' for name in DOWNLOADS)}
<button type="button" class="full" aria-pressed="false">100 %</button></div>
<p class="changed" role="status">The marks have changed since: cut out again.</p>
<div class="stage"><img alt=""></div>
<div class="explained">{"".join(f'<p data-view="{name.lower().replace("-", "")}">{text}</p>'
                                 for name, text in EXPLAINED.items())}</div>
"""


def script(*names: str) -> str:
    """JavaScript files of this folder, to be run when an element of the page is there."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


def build_layout(samples: list[Path], notice: str | None) -> SimpleNamespace:
    """The page's widgets by name; to be called inside a `gr.Blocks`."""
    gr.Markdown("# Cut out a subject\nDrop a photo: the page proposes what to keep, you mend it, and it is cut out "
                "hair by hair.", elem_id="title")
    if notice:
        gr.Markdown(notice, elem_id="notice")
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=320, elem_id="left"):
            page = _editing()
        with gr.Column(scale=1, min_width=320, elem_id="right"):
            _introduction()
            page |= _results() | _samples(samples)
    return SimpleNamespace(**page)


def _editing() -> dict:
    photo = gr.Image(visible=False, elem_id="photo")  # stands for the file that the editor has uploaded
    editor = gr.HTML(None, html_template=EDITOR, js_on_load=script("status.js", "editor.js", "photo.js"),
                     apply_default_css=False, elem_id="editor")
    with gr.Column(elem_id="controls"):
        with gr.Row(elem_id="actions"):
            hair = gr.Checkbox(False, label="Hair or fur", container=False, elem_id="hair", min_width=115)
            proposal = gr.Button("Propose", elem_id="propose", min_width=95)
            run = gr.Button("Cut out", variant="primary", elem_id="run", min_width=125)
        progress = gr.HTML(html_template='<div class="busy" role="status"></div>', apply_default_css=False,
                           elem_id="progress")
        status = gr.Markdown("", elem_id="status")
        with gr.Accordion("More: width of the edge, own trimap or mask", open=False, elem_id="more"):
            width = gr.Radio(list(WIDTHS), value="medium", label="Width of the edge in proposals", elem_id="width")
            gr.Markdown("A trimap is a picture that is white on the subject, grey on its edge and black on the "
                        "background; a mask has no grey. It must have the photo's size.")
            loaded = gr.UploadButton("Load a trimap or mask", file_types=["image"], elem_id="load", size="sm")
    return {"photo": photo, "editor": editor, "hair": hair, "width": width, "proposal": proposal, "run": run,
            "progress": progress, "status": status, "loaded": loaded}


def _introduction() -> None:
    gr.Markdown("1. **Drop a photo.** What is kept turns green, its edge yellow, the background red.\n"
                "2. **Mend it**, if needed: drag a box around the subject, or paint: the edge must cover all of the "
                "hair, fur or blur.\n"
                "3. **Cut out**, choose a background, and download.", elem_id="intro")


def _samples(samples: list[Path]) -> dict:
    gallery = gr.Dataset(components=[gr.Image(visible=False)], samples=[[str(path)] for path in samples],
                         type="index", label="Or try a sample", visible=bool(samples), elem_id="samples")
    return {"samples": gallery}


def _results() -> dict:
    with gr.Column(elem_id="results"):  # shown by viewer.js: Gradio 6.0 loses values of what it does not show
        viewer = gr.HTML(None, html_template=VIEWER, js_on_load=script("viewer.js"), apply_default_css=False,
                         elem_id="viewer")
        with gr.Row(elem_id="background"):
            kind = gr.Radio([COLOUR, PICTURE, BLURRED], value=COLOUR, label="New background", elem_id="kind", scale=3,
                            min_width=200)
            colour = gr.ColorPicker("#2a6f97", label="Colour", elem_id="colour", scale=1, min_width=90)
            with gr.Column(visible=False, scale=2, min_width=150) as picture_column:
                picture = gr.Image(sources=["upload", "clipboard"], buttons=[], label="Background picture", height=120,
                                   elem_id="picture")
        gr.Markdown("**Download** as PNG, in the photo's size:", elem_id="download-text")
        with gr.Row(elem_id="downloads"):
            downloads = [gr.DownloadButton(name, size="md", elem_id=f"download-{name.lower()}", min_width=80)
                         for name in DOWNLOADS]
        with gr.Accordion("For researchers: attention", open=False, elem_id="researchers"):
            gr.Markdown("Each line connects a position on the edge to its strongest match, from which the network "
                        "takes opacity. Left: encoder, right: decoder.")
            attention = gr.Image(show_label=False, format="png", buttons=["fullscreen"], interactive=False,
                                 elem_id="attention")
    return {"viewer": viewer, "kind": kind, "colour": colour, "picture": picture,
            "picture_column": picture_column, "attention": attention, "downloads": downloads}

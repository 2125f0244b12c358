"""The page's widgets and their arrangement; `webpage.page` holds their events. Needs Gradio."""

from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from matting.trimaps import WIDTHS
from webpage.strokes import BRUSHES

COLOUR, PICTURE, BLURRED = "Colour", "Picture", "Blurred photo"
RECTANGLE, EXAMPLES = "Rectangle around the subject", "Strokes on subject and background"  # inputs of a trimap proposal
DOWNLOADS = ("Matte", "Cut-out", "Composite", "Trimap")
STROKE_OPACITY = 0.7
SYSTEM_FONT = ["system-ui", "sans-serif"]
THEME = gr.themes.Default(primary_hue="teal", font=SYSTEM_FONT, font_mono=["ui-monospace", "monospace"])

SWATCHES = "".join(f"#brush label:nth-child({i}) {{ border-bottom-color: {colour}; }}"
                   for i, (colour, _) in enumerate(BRUSHES.values(), start=1))
CSS = f"""
.gradio-container {{ max-width: min(1280px, 100vw) !important; margin: auto; }}
#results, #results .block {{ min-width: 0 !important; }}  /* else a picture's own width widens the page */
#notice {{ border-left: 4px solid #f59e0b; padding-left: .8em; }}
#brush label {{ border-bottom: 4px solid transparent; }}
{SWATCHES}
@media (max-width: 640px) {{ #views .tab-container button {{ padding: 0 .35rem; font-size: .75rem; }} }}
footer {{ display: none !important; }}
"""

SCROLL_TO_RESULTS = "() => document.getElementById('results').scrollIntoView({behavior: 'smooth'})"


def image_file(**options) -> gr.Image:
    """An image widget to which files can be uploaded."""
    return gr.Image(sources=["upload", "clipboard"], buttons=[], **options)


def brush(label: str) -> gr.Brush:
    """The brush for a label of `BRUSHES`."""
    colours = {name: (colour, STROKE_OPACITY) for name, (colour, _) in BRUSHES.items()}
    return gr.Brush(default_size=18, colors=list(colours.values()), default_color=colours[label], color_mode="fixed")


def build_layout(samples: list[Path], notice: str | None) -> SimpleNamespace:
    """The page's widgets by name; to be called inside a `gr.Blocks`."""
    gr.Markdown("# Image matting\nCut a subject out of a photo, hair by hair, in three steps.")
    if notice:
        gr.Markdown(notice, elem_id="notice")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            page = _photo_step(samples)
        with gr.Column(scale=5, min_width=320):
            page |= _trimap_step()
    return SimpleNamespace(**page, **_matte_step())


def _photo_step(samples: list[Path]) -> dict:
    gr.Markdown("## 1 Photo\nChoose or drop a photo, or try a sample, which has a trimap.")
    photo = image_file(label="Photo", height=220, elem_id="photo")
    gallery = gr.Dataset(components=[gr.Image(visible=False)], samples=[[str(path)] for path in samples],
                         type="index", label="Samples", visible=bool(samples), elem_id="samples")
    return {"photo": photo, "samples": gallery}


def _trimap_step() -> dict:
    gr.Markdown("## 2 Trimap\nPaint the subject and, over its rim, the uncertain edge: hair, fur, blur, glass. "
                "Unpainted pixels are background.")
    label = gr.Radio(list(BRUSHES), value=next(iter(BRUSHES)), show_label=False, container=False, elem_id="brush")
    editor = gr.ImageEditor(show_label=False, type="numpy", image_mode="RGBA", sources=[], transforms=[], layers=False,
                            interactive=True, buttons=["fullscreen"], brush=brush(label.value), height=380,
                            elem_id="editor")
    status = gr.Markdown("", elem_id="status")
    with gr.Accordion("Paint less: propose or load a trimap", open=False, elem_id="help"):
        gr.Markdown("**Propose**: draw one line, of any colour, from corner to corner of a rectangle around the "
                    "subject; or a few strokes on the subject and a few on the background, and say which. "
                    "**Load**: a trimap, a mask or a matte. You can go on painting over either.")
        marks = gr.Radio([RECTANGLE, EXAMPLES], value=RECTANGLE, label="What is drawn for a proposal", elem_id="marks")
        width = gr.Radio(list(WIDTHS), value="medium", label="Uncertain edge", elem_id="width")
        with gr.Row():
            proposal = gr.Button("Propose", elem_id="propose", min_width=90)
            loaded = gr.UploadButton("Load a file", file_types=["image"], elem_id="load", min_width=90)
            start_over = gr.Button("Start over", elem_id="start-over", min_width=90)
    return {"brush": label, "editor": editor, "status": status, "marks": marks, "width": width, "proposal": proposal,
            "loaded": loaded, "start_over": start_over}


def _matte_step() -> dict:
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("## 3 Matte\nThe network estimates how opaque the subject is in each uncertain pixel.")
        with gr.Column(scale=1, min_width=300):
            run = gr.Button("Compute the matte", variant="primary", elem_id="run")
    with gr.Column(visible=False, elem_id="results") as results:
        with gr.Row():
            kind = gr.Radio([COLOUR, PICTURE, BLURRED], value=COLOUR, label="New background", elem_id="kind", scale=2)
            colour = gr.ColorPicker("#2a6f97", label="Colour", elem_id="colour", scale=1, min_width=120)
            with gr.Column(visible=False, scale=2) as picture_column:
                picture = image_file(label="Background picture", height=160, elem_id="picture")
        with gr.Tabs(elem_id="views"):
            with gr.Tab("Compare"):
                compare = gr.ImageSlider(label="Photo and composite", show_label=False, buttons=["fullscreen"],
                                         max_height=480, interactive=False, elem_id="compare")
            matte = _picture_tab("Matte", "matte")
            cutout = _picture_tab("Cut-out", "cutout")
            composite = _picture_tab("Composite", "composite")
            with gr.Tab("Attention"):
                gr.Markdown("Each line connects an uncertain position to its strongest match, from which the network "
                            "takes opacity. Left: encoder, right: decoder.")
                attention = _picture("attention")
            trimap = _picture_tab("Trimap", "trimap")
        gr.Markdown("**Download** as PNG, in the photo's size:")
        with gr.Row():
            downloads = [gr.DownloadButton(name, size="md", elem_id=f"download-{name.lower()}", min_width=120)
                         for name in DOWNLOADS]
    return {"run": run, "results": results, "kind": kind, "colour": colour, "picture": picture,
            "picture_column": picture_column, "compare": compare, "matte": matte, "cutout": cutout,
            "composite": composite, "attention": attention, "trimap": trimap, "downloads": downloads}


def _picture_tab(title: str, name: str) -> gr.Image:
    with gr.Tab(title):
        return _picture(name)


def _picture(name: str) -> gr.Image:
    return gr.Image(show_label=False, format="png", buttons=["fullscreen"], interactive=False, height=480, elem_id=name)

"""How the page looks, with fonts that the visitor's device has."""

from base64 import b64encode
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from .loading import load_gradio

if TYPE_CHECKING:
    from ..stages.panel import Panel

__all__ = ["CSS", "HEAD", "HEADER", "figures", "make_theme", "table"]

HEADER = """
<header class="lead">
<h1>barelens</h1>
<p>A camera without a lens: what its sensor sees looks like noise. Here it becomes a picture again,
and you see which part of the picture was <strong>measured</strong> and which was
<strong>made up</strong>.</p>
<ol class="steps"><li>Choose a capture</li><li>Press <em>Reconstruct</em></li>
<li>Drag the slider</li></ol>
</header>
"""

CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
.lead h1 { font-size: 1.7rem; font-weight: 700; margin: 0 0 .25rem; }
.lead p { margin: 0 0 .6rem; max-width: 48rem; font-size: 1.02rem; line-height: 1.5; }
.steps { display: flex; flex-wrap: wrap; gap: .5rem; list-style: none; counter-reset: step;
  margin: 0; padding: 0; }
.steps li { counter-increment: step; margin: 0 !important; padding: .2rem .8rem .2rem .3rem;
  border-radius: 999px; border: 1px solid var(--border-color-primary);
  background: var(--background-fill-secondary); }
.steps li::before { content: counter(step); display: inline-block; width: 1.5em; height: 1.5em;
  line-height: 1.5em; margin-right: .5em; text-align: center; border-radius: 50%;
  background: var(--primary-600); color: white; font-weight: 600; font-size: .9em; }
.numbers { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.numbers, .numbers th, .numbers td { border: 0 !important; }
.numbers th, .numbers td { text-align: left; padding: .3rem .5rem; vertical-align: top;
  border-bottom: 1px solid var(--border-color-primary) !important; font-weight: 400; }
.numbers th { width: 45%; color: var(--body-text-color-subdued); }
.figures { display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 220px), 1fr)); }
.figures figure { margin: 0; }
.figures img { width: 100%; border-radius: 6px; display: block; }
.figures figcaption { padding: .3rem 0; color: var(--body-text-color-subdued); line-height: 1.4; }
.compare label { position: static !important; border: 0 !important; background: none !important;
  color: var(--body-text-color) !important; font-weight: 400; }
.compare .icon-wrap { color: white !important; }
.dark .compare .icon-wrap { color: var(--neutral-950) !important; }
.report { width: 100%; height: 70vh; border: 1px solid var(--border-color-primary);
  border-radius: 8px; background: white; }
.status { min-height: 1.6rem; }
body:not(.dark) { --color-accent: var(--primary-600); }
:focus-visible { outline: 3px solid var(--primary-500) !important; outline-offset: 2px; }
@media (max-width: 640px) {
  .tab-container button { padding: 0 .45rem !important; font-size: .85rem !important; }
  .lead h1 { font-size: 1.4rem; }
}
"""

#: Less margin on a phone, which Gradio's own way of adding styles cannot reach; and pictures that
#: Gradio shows without a text alternative get the label of their field.
HEAD = """
<style>
@media (max-width: 640px) { .gradio-container .main.fillable { padding: .5rem !important; } }
</style>
<script>
(() => {
  const name = (image) => {
    if (image.alt && image.alt !== "image") return;
    const block = image.closest(".block");
    const label = block && block.querySelector("[data-testid='block-label'], label span");
    if (label) image.alt = label.textContent.trim();
  };
  const start = () =>
    new MutationObserver(() => document.querySelectorAll("img").forEach(name))
      .observe(document.body, { childList: true, subtree: true });
  if (document.body) start();
  else addEventListener("DOMContentLoaded", start);
})();
</script>
"""


def make_theme() -> Any:
    """Build a plain light and dark theme."""
    gr = load_gradio()
    theme = gr.themes.Soft(
        primary_hue="blue",
        neutral_hue="slate",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )
    plain = {
        "block_title_background_fill": "none",
        "block_title_text_color": "*body_text_color",
        "block_label_background_fill": "*block_background_fill",
        "block_label_text_color": "*body_text_color",
    }
    return theme.set(
        **{f"{name}{mode}": value for name, value in plain.items() for mode in ("", "_dark")},
        block_title_padding="0",
        block_title_text_weight="600",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        # White on the theme's own blue is too faint to be read by everybody.
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        checkbox_label_background_fill_selected="*primary_600",
    )


def figures(panels: Iterable["Panel"]) -> str:
    """Write pictures with their captions as HTML, each picture inside the page itself."""
    return f'<div class="figures">{"".join(map(_figure, panels))}</div>'


def _figure(panel: "Panel") -> str:
    import cv2

    encoded, content = cv2.imencode(".png", panel.picture.numpy()[..., ::-1])
    if not encoded:
        raise OSError(f"OpenCV could not encode the picture {panel.key!r} as PNG")
    data = b64encode(content.tobytes()).decode()
    caption = escape(panel.caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def table(rows: list[tuple[str, str]], caption: str) -> str:
    """Write rows of a name and a value as an HTML table that screen readers can read out."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table class="numbers" aria-label="{escape(caption)}">{body}</table>'

#include "tui/glyphs.h"

static const struct glyphs unicode_glyphs = {
    .good = "●",
    .bad = "✖",
    .warning = "▲",
    .note = "·",
    .unknown = "?",
    .leader = "★",
    .cursor = "▸",
    .opened = "▾",
    .closed = "▸",
    .horizontal = "─",
    .vertical = "│",
    .ellipsis = "…",
    .arrow = "→",
    .none = "–",
    .levels = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
    .gap = " ",
    .eighths = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"},
};

static const struct glyphs ascii_glyphs = {
    .ascii = true,
    .good = "*",
    .bad = "X",
    .warning = "!",
    .note = "-",
    .unknown = "?",
    .leader = "*",
    .cursor = ">",
    .opened = "v",
    .closed = ">",
    .horizontal = "-",
    .vertical = "|",
    .ellipsis = "~",
    .arrow = "->",
    .none = "-",
    .levels = {"_", ".", ":", "-", "=", "+", "*", "#"},
    .gap = " ",
    .eighths = {" ", " ", " ", "-", "-", "=", "=", "=", "#"},
};

const struct glyphs *glyphs_get(bool ascii)
{
    return ascii ? &ascii_glyphs : &unicode_glyphs;
}

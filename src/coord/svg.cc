#include "coord/svg.h"

#include <algorithm>

#include "base/text.h"
#include "base/utf8.h"

namespace instep::coord {
namespace {

// Colours that people who see few of them can tell apart, for a light and for a dark background.
constexpr const char* kStyle = R"(
text{fill:#24292f}
.bg{fill:#fff}
.grid{stroke:#d8dee4;stroke-width:1}
.frame{stroke:#8c959f;stroke-width:1;fill:none}
.line{fill:none;stroke-width:1.5;stroke-linejoin:round}
.bold{stroke-width:3}
.small{font-size:11px}
.strong{font-weight:600}
.flag{stroke-width:1;stroke-dasharray:4 3;opacity:.7}
.d1{stroke-dasharray:7 4}.d2{stroke-dasharray:2 3}.d3{stroke-dasharray:9 3 2 3}
.c0{stroke:#0072b2}.c1{stroke:#d55e00}.c2{stroke:#009e73}.c3{stroke:#b5508b}
.c4{stroke:#8a6d00}.c5{stroke:#3a9fd6}.c6{stroke:#6f42c1}.c7{stroke:#555}.plain{stroke:#6e7781}
.dot.c0{fill:#0072b2}.dot.c1{fill:#d55e00}.dot.c2{fill:#009e73}.dot.c3{fill:#b5508b}
.dot.c4{fill:#8a6d00}.dot.c5{fill:#3a9fd6}.dot.c6{fill:#6f42c1}.dot.c7{fill:#555}
.k0{stroke:#0969da;fill:#0969da}.k1{stroke:#6e7781;fill:#6e7781}
.k2{stroke:#cf222e;fill:#cf222e}.k3{stroke:#bf8700;fill:#bf8700}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.bg{fill:#0d1117}
.grid{stroke:#30363d}
.frame{stroke:#6e7681}
.c0{stroke:#58a6ff}.c1{stroke:#ff9248}.c2{stroke:#3fd0a0}.c3{stroke:#f0a0d0}
.c4{stroke:#e3c341}.c5{stroke:#8fd3ff}.c6{stroke:#b794f6}.c7{stroke:#b1bac4}.plain{stroke:#8b949e}
.dot.c0{fill:#58a6ff}.dot.c1{fill:#ff9248}.dot.c2{fill:#3fd0a0}.dot.c3{fill:#f0a0d0}
.dot.c4{fill:#e3c341}.dot.c5{fill:#8fd3ff}.dot.c6{fill:#b794f6}.dot.c7{fill:#b1bac4}
.k0{stroke:#58a6ff;fill:#58a6ff}.k1{stroke:#8b949e;fill:#8b949e}
.k2{stroke:#ff7b72;fill:#ff7b72}.k3{stroke:#e3b341;fill:#e3b341}
}
)";

std::string px(double value) { return number(value, 2); }

std::string text_at(double x, double y, const std::string& text, const char* anchor,
                    const char* kind) {
  return cat("<text x=\"", px(x), "\" y=\"", px(y), "\" text-anchor=\"", anchor, "\" class=\"",
             kind, "\">", xml_escape(text), "</text>\n");
}

std::string segment(double x1, double y1, double x2, double y2, const std::string& kind) {
  return cat("<line x1=\"", px(x1), "\" y1=\"", px(y1), "\" x2=\"", px(x2), "\" y2=\"", px(y2),
             "\" class=\"", kind, "\"/>\n");
}

std::string colour_of(const Style& style) {
  return style.plain ? "plain" : cat("c", style.colour % kColours);
}

std::string classes(const Style& style) {
  std::string out = cat("line ", colour_of(style));
  if (style.dash > 0) out += cat(" d", style.dash);
  if (style.bold) out += " bold";
  return out;
}

// The lines of a tooltip stay lines.
std::string tooltip(const std::string& text) {
  std::string out;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (begin > 0) out += '\n';
    out += xml_escape(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return cat("<title>", out, "</title>");
}

std::string draw(const Line& line) {
  std::string points;
  for (const Point& point : line.points) {
    points += cat(points.empty() ? "" : " ", px(point.x), ",", px(point.y));
  }
  std::string out = cat("<g>", tooltip(line.name), "\n<polyline class=\"", classes(line.style),
                        "\" points=\"", points, "\"/>\n");
  if (line.dots) {
    for (const Point& point : line.points) {
      out += cat("<circle class=\"dot ", colour_of(line.style), "\" cx=\"", px(point.x), "\" cy=\"",
                 px(point.y), "\" r=\"2.5\"/>\n");
    }
  }
  return out + "</g>\n";
}

std::string handle(double x, double y, FlagKind kind) {
  return cat("<path class=\"k", static_cast<int>(kind), "\" d=\"M", px(x - 4), " ", px(y - 8),
             "h8l-4 8z\"/>\n");
}

std::string draw(const Drawing& drawing, const Panel& panel) {
  const double bottom = panel.top + panel.height;
  std::string out = text_at(drawing.left, panel.top - 7, panel.title, "start", "strong");
  for (const Tick& tick : panel.ticks) {
    out += segment(drawing.left, tick.at, drawing.right, tick.at, "grid");
    out += text_at(drawing.left - 6, tick.at + 4, tick.label, "end", "small");
  }
  for (const Tick& tick : drawing.ticks) {
    out += segment(tick.at, panel.top, tick.at, bottom, "grid");
  }
  out +=
      cat("<rect class=\"frame\" x=\"", px(drawing.left), "\" y=\"", px(panel.top), "\" width=\"",
          px(drawing.right - drawing.left), "\" height=\"", px(panel.height), "\"/>\n");
  return out;
}

std::string draw(const Drawing& drawing, const Flag& flag) {
  std::string out = cat("<g>", tooltip(flag.text), "\n");
  for (const Panel& panel : drawing.panels) {
    out += segment(flag.x, panel.top, flag.x, panel.top + panel.height,
                   cat("flag k", static_cast<int>(flag.kind)));
  }
  if (!drawing.panels.empty()) out += handle(flag.x, drawing.panels.front().top, flag.kind);
  return out + "</g>\n";
}

std::string draw(const Key& key) {
  constexpr double kSwatch = 24;
  const double middle = key.y - 4;
  return (key.flag ? handle(key.x + kSwatch / 2, key.y, key.kind)
                   : segment(key.x, middle, key.x + kSwatch, middle, classes(key.style))) +
         text_at(key.x + kSwatch + 6, key.y, key.text, "start", "small");
}

}  // namespace

std::string to_svg(const Drawing& drawing) {
  const std::string size =
      cat("width=\"", px(drawing.width), "\" height=\"", px(drawing.height), "\"");
  std::string out = cat("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
                        "<svg xmlns=\"http://www.w3.org/2000/svg\" ", size, " viewBox=\"0 0 ",
                        px(drawing.width), " ", px(drawing.height),
                        "\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n",
                        tooltip(drawing.title), "\n<style>", kStyle, "</style>\n",
                        "<rect class=\"bg\" ", size, "/>\n");
  constexpr double kTitle = 22;
  out += text_at(drawing.left, kTitle, drawing.title, "start", "strong");
  for (const Key& key : drawing.keys) out += draw(key);
  for (const Panel& panel : drawing.panels) out += draw(drawing, panel);
  for (const Flag& flag : drawing.flags) out += draw(drawing, flag);
  for (const Panel& panel : drawing.panels) {
    for (const Line& line : panel.lines) out += draw(line);
  }
  if (!drawing.panels.empty()) {
    const Panel& last = drawing.panels.back();
    const double below = last.top + last.height;
    for (const Tick& tick : drawing.ticks) {
      out += text_at(tick.at, below + 16, tick.label, "middle", "small");
    }
    out +=
        text_at((drawing.left + drawing.right) / 2, below + 34, drawing.x_title, "middle", "small");
  }
  for (const Note& note : drawing.notes) {
    out += text_at(note.x, note.y, note.text, "start", "small");
  }
  return out + "</svg>\n";
}

}  // namespace instep::coord

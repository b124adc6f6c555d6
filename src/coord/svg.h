// A drawing of curves in panels one above the other, and its text as SVG: whole in itself, without
// scripts or references, for light and dark backgrounds. Lengths are in pixels, y downwards.
#pragma once

#include <string>
#include <vector>

#include "coord/curve.h"

namespace instep::coord {

inline constexpr int kColours = 8;

struct Style {
  int colour = 0;  // below kColours
  int dash = 0;    // 0: none, to 3
  bool bold = false;
  bool plain = false;  // grey instead of its colour
};

struct Line {
  std::string name;
  Style style;
  std::vector<Point> points;
  bool dots = false;  // each point is to be seen
};

struct Tick {
  double at = 0;
  std::string label;
};

struct Panel {
  std::string title;
  double top = 0, height = 0;
  std::vector<Tick> ticks;
  std::vector<Line> lines;
};

enum class FlagKind { kResume, kStop, kFailure, kOther };

// Something that happened: a line through all panels with a handle above them.
struct Flag {
  double x = 0;
  FlagKind kind = FlagKind::kOther;
  std::string text;  // its lines, shown at the pointer
};

struct Key {
  double x = 0, y = 0;  // of its left end, of its text's baseline
  std::string text;
  Style style;
  bool flag = false;  // else a line
  FlagKind kind = FlagKind::kOther;
};

struct Note {
  double x = 0, y = 0;
  std::string text;
};

struct Drawing {
  std::string title, x_title;
  double width = 0, height = 0, left = 0, right = 0;  // the panels lie between left and right
  std::vector<Tick> ticks;
  std::vector<Panel> panels;
  std::vector<Flag> flags;
  std::vector<Key> keys;
  std::vector<Note> notes;
};

std::string to_svg(const Drawing& drawing);

}  // namespace instep::coord

// Text from outside, for terminals and XML: code points, and how wide they are.
#pragma once

#include <string>
#include <string_view>

namespace instep {

// Takes the first code point off `text`, which is not empty. A byte that belongs to none is taken
// alone and gives U+FFFD.
char32_t take_code_point(std::string_view& text);
void append_utf8(std::string& out, char32_t point);

// Whether it is a control character (line ends included): nothing to put on a screen.
bool is_control(char32_t point);
// Columns of a terminal: 0 (combining), 1 or 2 (East Asian wide, emoji).
int columns(char32_t point);
int columns(std::string_view text);
// As much of `text` as fits in `width` columns; control characters become '?'.
std::string fit(std::string_view text, int width);
// Text or attribute value of XML 1.0: escaped; control characters and what is no UTF-8 become
// U+FFFD.
std::string xml_escape(std::string_view text);

}  // namespace instep

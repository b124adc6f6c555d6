#include "base/utf8.h"

#include <gtest/gtest.h>

#include <vector>

namespace instep {
namespace {

std::vector<char32_t> points(std::string_view text) {
  std::vector<char32_t> out;
  while (!text.empty()) out.push_back(take_code_point(text));
  return out;
}

TEST(Utf8, CodePointsAndWhatIsNone) {
  using P = std::vector<char32_t>;
  EXPECT_EQ(points("aé€😀"), (P{'a', 0xE9, 0x20AC, 0x1F600}));
  EXPECT_EQ(points("\xC3"), (P{0xFFFD}));                           // cut off
  EXPECT_EQ(points("\xC0\xAF"), (P{0xFFFD, 0xFFFD}));               // overlong
  EXPECT_EQ(points("\xE0\x80\xAF"), (P{0xFFFD, 0xFFFD, 0xFFFD}));   // likewise
  EXPECT_EQ(points("\xED\xA0\x80"), (P{0xFFFD, 0xFFFD, 0xFFFD}));   // a surrogate
  EXPECT_EQ(points("\xF4\x90\x80\x80").front(), char32_t(0xFFFD));  // beyond the last
  EXPECT_EQ(points("\xE2(\xA1x"), (P{0xFFFD, '(', 0xFFFD, 'x'}));
  for (const char32_t point : {0x24U, 0xA2U, 0x20ACU, 0x10348U}) {
    std::string text;
    append_utf8(text, point);
    EXPECT_EQ(points(text), P{point});
  }
}

TEST(Utf8, WidthOfATerminal) {
  EXPECT_EQ(columns("abc"), 3);
  EXPECT_EQ(columns("naïve"), 5);
  EXPECT_EQ(columns("e\xCC\x81"), 1);  // a combining accent
  EXPECT_EQ(columns("漢字"), 4);
  EXPECT_EQ(fit("漢字", 3), "漢");
  EXPECT_EQ(fit("ab\x1b[2Jc\n", 100), "ab?[2Jc?");
  EXPECT_EQ(fit("abc", 0), "");
  EXPECT_EQ(fit("abc", -1), "");
}

TEST(Utf8, XmlHasNoWayOut) {
  EXPECT_EQ(xml_escape("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(xml_escape(std::string_view("\0\x01\n\xFF", 4)), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(xml_escape("ü漢"), "ü漢");
}

}  // namespace
}  // namespace instep

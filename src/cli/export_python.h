// The Python module that an export brings for a model of instep's own.
#pragma once

#include <string>
#include <string_view>

namespace instep::cli {

// The text of model.py; empty for a kind that has none.
std::string python_module(std::string_view kind);
// How every such file begins.
inline constexpr std::string_view kPythonBegin = "\"\"\"Exported by instep: ";

}  // namespace instep::cli

// Calls of a program's own code. What it throws ends the process, since nothing may throw through
// the loop.
#pragma once

#include <exception>
#include <string>

#include "base/text.h"
#include "train/session.h"

namespace instep::train {

// libtorch's messages carry a trace of our frames behind the first line.
inline std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

// `where` says where we are once that is known to matter.
template <class Call, class Where>
auto guarded(Session& session, const Call& call, const Where& where) {
  try {
    return call();
  } catch (const std::exception& error) {
    session.fail(invalid(cat(where(), ": ", first_line(error))));
  } catch (...) {
    session.fail(invalid(cat(where(), ": it threw no std::exception")));
  }
}

}  // namespace instep::train

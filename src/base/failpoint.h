// Named places where a test makes the real program fail: INSTEP_FAILPOINTS="NAME=ACTION@K;…" does
// ACTION the K-th time (from 1; every time without @K) that this process passes NAME. Actions: kill
// (SIGKILL to itself), stop (SIGSTOP to itself), enospc, eio (the call that follows fails so).
// Without the variable a passage costs one predictable branch.
#pragma once

#include <string_view>

namespace instep {

// 0, or the errno that the caller must fail with.
int failpoint(std::string_view name);

}  // namespace instep

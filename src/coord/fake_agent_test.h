// A small real agent for tests of the launcher: the test program executes itself, and this part of
// it speaks the agent's side of the protocol instead of running tests.
#pragma once

namespace instep::coord {

// The variable that says how it behaves; see fake_agent_test.cc.
inline constexpr const char* kFakeAgent = "INSTEP_FAKE_AGENT";

}  // namespace instep::coord

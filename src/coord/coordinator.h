// The coordinator's process: member/coordinator.h behind a socket, with a journal on disk. The
// launcher starts it, talks to it (coordinator_link.h) and starts it again when it dies; agents
// train on meanwhile.
#pragma once

namespace instep::coord {

// The variable that makes a program coordinate: the number of its end of the socket.
inline constexpr const char* kCoordinatorFd = "INSTEP_COORDINATOR_FD";

// Serves until the other end is gone. Returns the exit code.
int coordinate(int socket);
// If that variable is set, coordinates and does not return. For the beginning of a program.
void coordinate_if_asked();

}  // namespace instep::coord

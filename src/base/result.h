// Expected failures are values: a Status, or a Result that holds a value or an Error.
// Exceptions are left to libtorch; a broken invariant aborts through INSTEP_CHECK.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace instep {

// What a caller can do about a failure; the words for a person are in Error::message.
enum class ErrorKind {
  kInvalid,      // the user's input is wrong: job file, flag, dataset content
  kNotFound,     // something named by the user does not exist
  kCorrupt,      // bytes that were written whole once no longer are
  kMismatch,     // two things that must agree do not: model and checkpoint, versions, builds
  kTaken,        // somebody else holds it: a run directory, a name
  kNoSpace,      // the disk is full
  kNoMemory,     // the machine has too little memory
  kUnavailable,  // a peer or the coordinator is gone
  kDamaged,      // memory no longer holds what was written there
  kInternal,     // the operating system refused something that should work
  kAgain,        // the members changed meanwhile: do it again with those of now; never shown
};

struct Error {
  ErrorKind kind = ErrorKind::kInternal;
  // One or two lines: what happened, where (file, line, key), and what to do next.
  std::string message;
};

inline Error invalid(std::string message) { return {ErrorKind::kInvalid, std::move(message)}; }

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !error_.has_value(); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : held_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return std::holds_alternative<T>(held_); }
  const Error& error() const { return std::get<Error>(held_); }
  Status status() const { return ok() ? Status() : Status(error()); }

  T& operator*() { return std::get<T>(held_); }
  const T& operator*() const { return std::get<T>(held_); }
  T* operator->() { return &std::get<T>(held_); }
  const T* operator->() const { return &std::get<T>(held_); }
  T take() { return std::move(std::get<T>(held_)); }

 private:
  std::variant<T, Error> held_;
};

// Prints the name of a broken invariant and aborts. Kept on in every build.
[[noreturn]] void check_failed(const char* what, const char* file, int line);

#define INSTEP_CHECK(condition, what) \
  ((condition) ? void(0) : ::instep::check_failed(what, __FILE__, __LINE__))

#define INSTEP_RETURN_IF_ERROR(expression)            \
  do {                                                \
    if (auto status_ = (expression); !status_.ok()) { \
      return status_.error();                         \
    }                                                 \
  } while (false)

#define INSTEP_CONCAT_INNER(a, b) a##b
#define INSTEP_CONCAT(a, b) INSTEP_CONCAT_INNER(a, b)
#define INSTEP_ASSIGN_OR_RETURN(target, expression)     \
  auto INSTEP_CONCAT(result_, __LINE__) = (expression); \
  if (!INSTEP_CONCAT(result_, __LINE__).ok()) {         \
    return INSTEP_CONCAT(result_, __LINE__).error();    \
  }                                                     \
  target = INSTEP_CONCAT(result_, __LINE__).take()

}  // namespace instep

// The tokens by which hosts may join a run. The text of a token, ID.SECRET, is shown once, when it
// is made; the book keeps the SHA-256 of the secret, which is random enough (120 bits) to need no
// slower hash.
//
// The book is a file that `instep token` and the coordinator both use, each from its own process:
// every operation takes the lock (flock on FILE.lock), reads the file anew, and if it changes
// something replaces it and waits for the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace instep::fabric {

struct Token {
  std::string id;
  std::string secret_sha256;
  std::int64_t made_unix_s = 0;
  std::optional<std::int64_t> valid_until_unix_s;  // absent: as long as the run
  std::optional<std::uint32_t> uses_left;          // absent: any number
  std::uint32_t used = 0;
  bool revoked = false;
};

enum class TokenVerdict { kGranted, kUnknown, kRevoked, kExpired, kUsedUp };

struct TokenAnswer {
  TokenVerdict verdict = TokenVerdict::kUnknown;
  Token token;  // of kUnknown: nothing
};

// What a token is worth whose secret is right.
TokenVerdict judge(const Token& token, std::int64_t now_unix_s);
// ok where it is granted; else why not, for the one who wants to join.
Status to_status(const TokenAnswer& answer);
// Whether the text has the form of a token.
bool is_token(std::string_view text);
// The token that so many random bytes make.
inline constexpr std::size_t kTokenLetters = 30;
std::string token_of(std::span<const unsigned char, kTokenLetters> bytes);

// A book's file. `path`: as an error names it.
std::string to_json(const std::vector<Token>& tokens);
Result<std::vector<Token>> tokens_from_json(std::string_view text,
                                            const std::filesystem::path& path);

class TokenBook {
 public:
  // Makes the file (mode 0600) where there is none.
  static Result<TokenBook> open(std::filesystem::path path);

  // The text of a new token.
  Result<std::string> make(std::optional<std::uint32_t> uses,
                           std::optional<std::int64_t> valid_until_unix_s, std::int64_t now_unix_s);
  // Lets in whoever has this token, which was made elsewhere, as long as the run.
  Status know(std::string_view token, std::int64_t now_unix_s);
  // One use of a token. It is counted on the disk before it is granted. A token that nobody made
  // and one with a wrong secret are the same unknown.
  Result<TokenAnswer> take(std::string_view token, std::int64_t now_unix_s);
  Result<std::vector<Token>> list();
  Status revoke(std::string_view id);

 private:
  explicit TokenBook(std::filesystem::path path) : path_(std::move(path)) {}
  Result<Fd> lock() const;
  Result<std::vector<Token>> read() const;
  Status write(const std::vector<Token>& tokens) const;

  std::filesystem::path path_;
};

}  // namespace instep::fabric

#include "fabric/token_book.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/text.h"
#include "fabric/clock_text.h"

namespace instep::fabric {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kIdLength = 6;
constexpr std::size_t kSecretLength = 24;
constexpr std::size_t kMostTokens = 1000;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 20;
constexpr int kFormat = 1;
// Base 32 without 0, 1, l and o, which are read as one another.
constexpr std::string_view kLetters = "23456789abcdefghijkmnpqrstuvwxyz";
static_assert(kLetters.size() == 32);

static_assert(kTokenLetters == kIdLength + kSecretLength);

Result<std::string> random_token() {
  std::array<unsigned char, kTokenLetters> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return Error{ErrorKind::kInternal, "the system's source of random numbers gives none"};
  }
  return token_of(bytes);
}

Token described(std::string_view text, std::int64_t now_unix_s) {
  Token out;
  out.id = text.substr(0, kIdLength);
  out.secret_sha256 = sha256_hex(text.substr(kIdLength + 1));
  out.made_unix_s = now_unix_s;
  return out;
}

bool has(const std::vector<Token>& tokens, std::string_view id) {
  return std::any_of(tokens.begin(), tokens.end(), [&](const Token& it) { return it.id == id; });
}

bool all_letters(std::string_view text) {
  return text.find_first_not_of(kLetters) == std::string_view::npos;
}

json json_of(const Token& token) {
  json out{{"id", token.id},
           {"secret_sha256", token.secret_sha256},
           {"made", token.made_unix_s},
           {"used", token.used},
           {"revoked", token.revoked}};
  if (token.valid_until_unix_s) out["valid_until"] = *token.valid_until_unix_s;
  if (token.uses_left) out["uses_left"] = *token.uses_left;
  return out;
}

template <class T>
bool get(const json& in, const char* key, T& value) {
  const auto found = in.find(key);
  if (found == in.end()) return false;
  if constexpr (std::is_same_v<T, std::string>) {
    if (!found->is_string()) return false;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!found->is_boolean()) return false;
  } else if constexpr (std::is_same_v<T, std::uint32_t>) {
    if (!found->is_number_unsigned() || found->get<std::uint64_t>() > UINT32_MAX) return false;
  } else if (!found->is_number_integer()) {
    return false;
  }
  value = found->get<T>();
  return true;
}

template <class T>
bool get_optional(const json& in, const char* key, std::optional<T>& value) {
  return !in.contains(key) || get(in, key, value.emplace());
}

bool from_json(const json& in, Token& token) {
  return in.is_object() && get(in, "id", token.id) && token.id.size() == kIdLength &&
         all_letters(token.id) && get(in, "secret_sha256", token.secret_sha256) &&
         get(in, "made", token.made_unix_s) && get(in, "used", token.used) &&
         get(in, "revoked", token.revoked) &&
         get_optional(in, "valid_until", token.valid_until_unix_s) &&
         get_optional(in, "uses_left", token.uses_left);
}

Error damaged(const fs::path& path) {
  return {
      ErrorKind::kCorrupt,
      cat(path.string(), " is no book of join tokens any more; move it away, and make new tokens")};
}

}  // namespace

TokenVerdict judge(const Token& token, std::int64_t now_unix_s) {
  if (token.revoked) return TokenVerdict::kRevoked;
  if (token.valid_until_unix_s && now_unix_s >= *token.valid_until_unix_s) {
    return TokenVerdict::kExpired;
  }
  return token.uses_left && *token.uses_left == 0 ? TokenVerdict::kUsedUp : TokenVerdict::kGranted;
}

Status to_status(const TokenAnswer& answer) {
  static constexpr std::string_view kAdvice = "; ask for a new join line (instep token)";
  const std::string token = cat("the join token ", answer.token.id);
  switch (answer.verdict) {
    case TokenVerdict::kGranted:
      return {};
    case TokenVerdict::kUnknown:
      return invalid(
          "this run knows no such join token; was the join line of another run, or cut?");
    case TokenVerdict::kRevoked:
      return invalid(cat(token, " was revoked", kAdvice));
    case TokenVerdict::kExpired:
      return invalid(
          cat(token, " expired at ", clock_text(*answer.token.valid_until_unix_s), kAdvice));
    case TokenVerdict::kUsedUp:
      return invalid(cat(token, " is used up", kAdvice));
  }
  return {};
}

bool is_token(std::string_view text) {
  return text.size() == kIdLength + 1 + kSecretLength && text[kIdLength] == '.' &&
         all_letters(text.substr(0, kIdLength)) && all_letters(text.substr(kIdLength + 1));
}

std::string token_of(std::span<const unsigned char, kTokenLetters> bytes) {
  std::string out;
  for (const unsigned char byte : bytes) {
    if (out.size() == kIdLength) out += '.';
    out += kLetters[byte % kLetters.size()];
  }
  return out;
}

std::string to_json(const std::vector<Token>& tokens) {
  json out{{"format", kFormat}, {"tokens", json::array()}};
  for (const Token& token : tokens) out["tokens"].push_back(json_of(token));
  return out.dump(1) + "\n";
}

Result<std::vector<Token>> tokens_from_json(std::string_view text, const fs::path& path) {
  const json in = json::parse(text, nullptr, false);
  int format = 0;
  if (!in.is_object() || !get(in, "format", format) || format != kFormat) return damaged(path);
  const auto tokens = in.find("tokens");
  if (tokens == in.end() || !tokens->is_array()) return damaged(path);
  std::vector<Token> out;
  for (const json& token : *tokens) {
    if (!from_json(token, out.emplace_back())) return damaged(path);
  }
  return out;
}

Result<TokenBook> TokenBook::open(fs::path path) {
  TokenBook out(std::move(path));
  INSTEP_ASSIGN_OR_RETURN(const Fd held, out.lock());
  if (::access(out.path_.c_str(), F_OK) != 0) {
    INSTEP_RETURN_IF_ERROR(out.write({}));
  } else {
    INSTEP_RETURN_IF_ERROR(out.read().status());
  }
  return out;
}

Result<Fd> TokenBook::lock() const {
  fs::path path = path_;
  path += ".lock";
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid()) return os_error("open", path, errno);
  while (::flock(file.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return os_error("lock", path, errno);
  }
  return file;
}

Result<std::vector<Token>> TokenBook::read() const {
  INSTEP_ASSIGN_OR_RETURN(const std::string text, read_file(path_, kMostBytes));
  return tokens_from_json(text, path_);
}

Status TokenBook::write(const std::vector<Token>& tokens) const {
  return write_file_atomically(path_, to_json(tokens), 0600);
}

Result<std::string> TokenBook::make(std::optional<std::uint32_t> uses,
                                    std::optional<std::int64_t> valid_until_unix_s,
                                    std::int64_t now_unix_s) {
  if (uses && *uses == 0) return invalid("a join token for no use lets nobody in");
  if (valid_until_unix_s && *valid_until_unix_s <= now_unix_s) {
    return invalid("a join token that has expired lets nobody in");
  }
  INSTEP_ASSIGN_OR_RETURN(const Fd held, lock());
  INSTEP_ASSIGN_OR_RETURN(std::vector<Token> tokens, read());
  const auto spent = [&](const Token& it) {
    return judge(it, now_unix_s) != TokenVerdict::kGranted;
  };
  if (tokens.size() >= kMostTokens) std::erase_if(tokens, spent);
  if (tokens.size() >= kMostTokens) {
    return invalid(cat(kMostTokens, " join tokens are valid, which is the most; revoke some"));
  }
  std::string text;
  do {
    INSTEP_ASSIGN_OR_RETURN(text, random_token());
  } while (has(tokens, text.substr(0, kIdLength)));
  Token made = described(text, now_unix_s);
  made.valid_until_unix_s = valid_until_unix_s;
  made.uses_left = uses;
  tokens.push_back(std::move(made));
  INSTEP_RETURN_IF_ERROR(write(tokens));
  return text;
}

Status TokenBook::know(std::string_view token, std::int64_t now_unix_s) {
  if (!is_token(token)) return invalid("what came is no join token");
  INSTEP_ASSIGN_OR_RETURN(const Fd held, lock());
  INSTEP_ASSIGN_OR_RETURN(std::vector<Token> tokens, read());
  if (has(tokens, token.substr(0, kIdLength))) {
    return Error{ErrorKind::kTaken,
                 cat("there is a join token ", token.substr(0, kIdLength), " already")};
  }
  tokens.push_back(described(token, now_unix_s));
  return write(tokens);
}

Result<TokenAnswer> TokenBook::take(std::string_view token, std::int64_t now_unix_s) {
  if (!is_token(token)) return TokenAnswer{};
  INSTEP_ASSIGN_OR_RETURN(const Fd held, lock());
  INSTEP_ASSIGN_OR_RETURN(std::vector<Token> tokens, read());
  const std::string_view id = token.substr(0, kIdLength);
  const auto found =
      std::find_if(tokens.begin(), tokens.end(), [&](const Token& it) { return it.id == id; });
  const std::string hash = sha256_hex(token.substr(kIdLength + 1));
  if (found == tokens.end() || found->secret_sha256.size() != hash.size() ||
      CRYPTO_memcmp(found->secret_sha256.data(), hash.data(), hash.size()) != 0) {
    return TokenAnswer{};
  }
  const TokenVerdict verdict = judge(*found, now_unix_s);
  if (verdict == TokenVerdict::kGranted) {
    if (found->uses_left) --*found->uses_left;
    ++found->used;
    INSTEP_RETURN_IF_ERROR(write(tokens));
  }
  return TokenAnswer{verdict, *found};
}

Result<std::vector<Token>> TokenBook::list() {
  INSTEP_ASSIGN_OR_RETURN(const Fd held, lock());
  return read();
}

Status TokenBook::revoke(std::string_view id) {
  INSTEP_ASSIGN_OR_RETURN(const Fd held, lock());
  INSTEP_ASSIGN_OR_RETURN(std::vector<Token> tokens, read());
  const auto found =
      std::find_if(tokens.begin(), tokens.end(), [&](const Token& it) { return it.id == id; });
  if (found == tokens.end()) {
    return Error{ErrorKind::kNotFound,
                 cat("there is no join token ", id, "; a token's first 6 characters name it")};
  }
  found->revoked = true;
  return write(tokens);
}

}  // namespace instep::fabric

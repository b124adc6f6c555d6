#include "fabric/shared_secret.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>

#include <span>
#include <vector>

#include "fabric/openssl.h"
#include "fabric/token_book.h"

namespace instep::fabric {
namespace {

using Number = std::unique_ptr<BIGNUM, Freer<BN_clear_free>>;
using Numbers = std::unique_ptr<BN_CTX, Freer<BN_CTX_free>>;
using Group = std::unique_ptr<EC_GROUP, Freer<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, Freer<EC_POINT_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX_free>>;
using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, Freer<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Freer<OSSL_PARAM_free>>;
using Bytes = std::span<const unsigned char>;

// Another derivation is another label.
constexpr std::string_view kLabel = "instep shared secret 1\n";
constexpr std::uint64_t kCost = 1 << 14, kBlock = 8, kParallel = 1, kMostMemory = 64 << 20;
// 128 bits more than the order of the group has, so that the remainder is uniform (FIPS 186-5,
// A.2.1).
constexpr std::size_t kScalarBytes = 48;

// In [1, order - 1].
Number scalar_of(Bytes bytes, const EC_GROUP* group, BN_CTX* numbers) {
  Number wide(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  const Number most(BN_dup(EC_GROUP_get0_order(group)));
  Number out(BN_new());
  const bool made = wide && most && out && BN_sub_word(most.get(), 1) == 1 &&
                    BN_mod(out.get(), wide.get(), most.get(), numbers) == 1 &&
                    BN_add_word(out.get(), 1) == 1;
  if (!made) out.reset();
  return out;
}

// The public point, uncompressed as in the keys that OpenSSL makes.
std::vector<unsigned char> public_of(const EC_GROUP* group, const BIGNUM* scalar, BN_CTX* numbers) {
  const Point point(EC_POINT_new(group));
  if (!point || EC_POINT_mul(group, point.get(), scalar, nullptr, nullptr, numbers) != 1) return {};
  const auto form = POINT_CONVERSION_UNCOMPRESSED;
  std::vector<unsigned char> out(EC_POINT_point2oct(group, point.get(), form, nullptr, 0, numbers));
  if (EC_POINT_point2oct(group, point.get(), form, out.data(), out.size(), numbers) == 0) return {};
  return out;
}

// Null where OpenSSL refuses.
Key key_from(Bytes bytes) {
  const Group group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const Numbers numbers(BN_CTX_secure_new());
  if (!group || !numbers) return nullptr;
  const Number scalar = scalar_of(bytes, group.get(), numbers.get());
  if (!scalar) return nullptr;
  const std::vector<unsigned char> point = public_of(group.get(), scalar.get(), numbers.get());
  const ParamBuilder builder(OSSL_PARAM_BLD_new());
  const bool described =
      builder && !point.empty() &&
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME,
                                      SN_X9_62_prime256v1, 0) == 1 &&
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                       point.size()) == 1 &&
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, scalar.get()) == 1;
  const Params params(described ? OSSL_PARAM_BLD_to_param(builder.get()) : nullptr);
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* made = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_KEYPAIR, params.get()) != 1) {
    return nullptr;
  }
  return Key(made);
}

}  // namespace

Result<SharedKeys> derive_keys(std::string_view secret, std::string_view run) {
  std::array<unsigned char, kScalarBytes + kTokenLetters> bytes{};
  const std::string salt = cat(kLabel, run);
  if (EVP_PBE_scrypt(secret.data(), secret.size(),
                     reinterpret_cast<const unsigned char*>(salt.data()), salt.size(), kCost,
                     kBlock, kParallel, kMostMemory, bytes.data(), bytes.size()) != 1) {
    return openssl_error("cannot derive keys from the secret");
  }
  const std::span all(bytes);
  const Key key = key_from(all.first<kScalarBytes>());
  if (!key) return openssl_error("cannot make a key from the secret");
  SharedKeys out;
  out.fingerprint = fingerprint_of(key.get());
  INSTEP_ASSIGN_OR_RETURN(out.authority_key, pem_of(key.get()));
  out.token = token_of(all.subspan<kScalarBytes>());
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return out;
}

}  // namespace instep::fabric

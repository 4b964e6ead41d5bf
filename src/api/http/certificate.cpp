#include <fmt/format.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <memory>

#include "api/http/listen.hpp"
#include "base/types.hpp"

namespace nagaya::api {
namespace {

template <class T, auto Free>
struct Freed {
  void operator()(T* object) const { Free(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509, X509_free>>;
using Memory = std::unique_ptr<BIO, Freed<BIO, BIO_free>>;

Result<> write_pem(const std::string& path, const Memory& memory) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return host::replace_file(path, {reinterpret_cast<const u8*>(data), static_cast<std::size_t>(size)});
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

Result<Certificate> self_signed(EVP_PKEY* key) {
  Certificate out(X509_new());
  std::array<u8, 16> serial;
  if (RAND_bytes(serial.data(), static_cast<int>(serial.size())) != 1) return fail("there are no random numbers");
  serial[0] &= 0x7F;
  const std::unique_ptr<BIGNUM, Freed<BIGNUM, BN_free>> number(BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
  BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(out.get()));
  X509_set_version(out.get(), X509_VERSION_3);
  X509_gmtime_adj(X509_getm_notBefore(out.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(out.get()), 60L * 60 * 24 * 3650);
  X509_set_pubkey(out.get(), key);
  X509_NAME* name = X509_get_subject_name(out.get());
  const std::string host = host_name();
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const u8*>("nagaya"), -1, -1, 0);
  X509_set_issuer_name(out.get(), name);
  const std::string names = fmt::format("DNS:localhost,DNS:{},IP:127.0.0.1,IP:::1", host);
  const std::pair<int, const char*> extensions[] = {{NID_subject_alt_name, names.c_str()},
                                                    {NID_basic_constraints, "critical,CA:FALSE"},
                                                    {NID_key_usage, "critical,digitalSignature"},
                                                    {NID_ext_key_usage, "serverAuth"}};
  for (const auto& [id, value] : extensions) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, out.get(), out.get(), nullptr, nullptr, 0);
    const std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION, X509_EXTENSION_free>> extension(X509V3_EXT_conf_nid(nullptr, &context, id, value));
    if (!extension || X509_add_ext(out.get(), extension.get(), -1) != 1) return fail("cannot make a certificate", value);
  }
  if (X509_sign(out.get(), key, EVP_sha256()) == 0) return fail("cannot sign a certificate");
  return out;
}

Result<std::string> fingerprint(const std::string& path) {
  const std::unique_ptr<BIO, Freed<BIO, BIO_free>> file(BIO_new_file(path.c_str(), "r"));
  const Certificate certificate(file ? PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!certificate) return fail(fmt::format("'{}'", path), "there is no certificate in it", "remove it: it is made again");
  std::array<u8, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  X509_digest(certificate.get(), EVP_sha256(), digest.data(), &size);
  std::string out;
  for (unsigned i = 0; i < size; i++) out += fmt::format("{}{:02X}", i == 0 ? "" : ":", digest[i]);
  return out;
}

}  // namespace

Result<OwnCertificate> own_certificate(const std::string& folder) {
  OwnCertificate out{.certificate = folder + "/tls.crt", .key = folder + "/tls.key", .fingerprint = {}};
  if (!std::filesystem::exists(out.certificate) || !std::filesystem::exists(out.key)) {
    const Key key(EVP_EC_gen("P-256"));
    if (!key) return fail("cannot make a key");
    TRY_ASSIGN(const Certificate certificate, self_signed(key.get()));
    // The key first: replace_file makes files for their owner alone, whatever the umask is here (see program.cpp).
    const Memory key_text(BIO_new(BIO_s_mem())), text(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    PEM_write_bio_X509(text.get(), certificate.get());
    TRY(write_pem(out.key, key_text));
    TRY(write_pem(out.certificate, text));
  }
  TRY_ASSIGN(out.fingerprint, fingerprint(out.certificate));
  return out;
}

}  // namespace nagaya::api

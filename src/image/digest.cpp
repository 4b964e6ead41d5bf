#include "image/digest.hpp"

#include <fcntl.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "host/fd.hpp"

namespace nagaya::image {

struct Sha256::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_MD_CTX_free(md); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  // Fails only without memory or in a build of the library without SHA-256.
  if (context_->md == nullptr || EVP_DigestInit_ex(context_->md, EVP_sha256(), nullptr) != 1) std::abort();
}

Sha256::~Sha256() = default;

void Sha256::update(std::span<const u8> data) {
  if (EVP_DigestUpdate(context_->md, data.data(), data.size()) != 1) std::abort();
}

std::string Sha256::finish() {
  u8 bytes[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (EVP_DigestFinal_ex(context_->md, bytes, &length) != 1) std::abort();
  std::string out;
  for (unsigned i = 0; i < length; ++i) {
    out += "0123456789abcdef"[bytes[i] >> 4];
    out += "0123456789abcdef"[bytes[i] & 15];
  }
  return out;
}

std::string sha256(std::span<const u8> data) {
  Sha256 sum;
  sum.update(data);
  return sum.finish();
}

std::string sha256(std::string_view text) { return sha256(std::span(reinterpret_cast<const u8*>(text.data()), text.size())); }

Result<std::string> sha256_of_file(const std::string& path) {
  TRY_ASSIGN(const host::Fd file, host::Fd::open(path, O_RDONLY));
  std::vector<u8> buffer(MiB);
  Sha256 sum;
  for (;;) {
    TRY_ASSIGN(const std::size_t got, host::read_up_to(file.get(), buffer));
    sum.update(std::span(buffer).first(got));
    if (got < buffer.size()) return sum.finish();
  }
}

bool is_hex(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_sha256(std::string_view text) { return text.size() == 64 && is_hex(text); }

}  // namespace nagaya::image

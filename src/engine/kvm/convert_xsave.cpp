// The XSAVE image: Intel SDM vol. 1, 13.4 (legacy region, header, extended region in the standard format). Component
// offsets are the host's on both sides, so bytes are only copied.
#include <algorithm>
#include <cstring>

#include "engine/kvm/convert.hpp"

namespace nagaya::engine::kvm {
namespace {

constexpr std::size_t mxcsr_at = 24, st_at = 32, xmm_at = 160, xmm_end = 416, header_at = 512, extended_at = 576;
constexpr u64 x87 = 1, sse = 2;

u64 load64(const u8* at) {
  u64 value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
void store64(u8* at, u64 value) { std::memcpy(at, &value, sizeof value); }

// Writes the initial x87 and SSE values where the header's bit is clear, then sets both bits.
void make_legacy_explicit(u8* image) {
  const u64 present = load64(image + header_at);
  if (!(present & x87)) {
    std::fill(image, image + mxcsr_at, u8{0});
    const u16 control_word = 0x37f;
    std::memcpy(image, &control_word, sizeof control_word);
    std::fill(image + st_at, image + xmm_at, u8{0});
  }
  if (!(present & sse)) {
    std::fill(image + xmm_at, image + xmm_end, u8{0});
    u32 mxcsr;
    std::memcpy(&mxcsr, image + mxcsr_at, sizeof mxcsr);
    if (mxcsr == 0) mxcsr = 0x1f80;  // the image never held SSE state
    std::memcpy(image + mxcsr_at, &mxcsr, sizeof mxcsr);
  }
  store64(image + header_at, present | x87 | sse);
}

}  // namespace

u64 xsave_in_use(const x86::CpuState& state) { return load64(state.xsave.data() + header_at) & ~(x87 | sse); }

void xsave_to_kvm(const x86::CpuState& state, u64 components, std::span<u8> image) {
  std::fill(image.begin(), image.end(), u8{0});
  std::memcpy(image.data(), state.xsave.data(), std::min(image.size(), state.xsave.size()));
  std::fill(image.begin() + header_at + 8, image.begin() + extended_at, u8{0});  // XCOMP_BV and reserved
  make_legacy_explicit(image.data());
  store64(image.data() + header_at, load64(image.data() + header_at) & (components | x87 | sse));
}

void xsave_from_kvm(std::span<const u8> image, u64 components, x86::CpuState& state) {
  std::memcpy(state.xsave.data(), image.data(), std::min(image.size(), state.xsave.size()));
  std::fill(state.xsave.begin() + 464, state.xsave.begin() + 512, u8{0});  // bytes software may use: the kernel's marks
  std::fill(state.xsave.begin() + header_at + 8, state.xsave.begin() + extended_at, u8{0});
  make_legacy_explicit(state.xsave.data());
  store64(state.xsave.data() + header_at, load64(state.xsave.data() + header_at) & (components | x87 | sse));
}

}  // namespace nagaya::engine::kvm

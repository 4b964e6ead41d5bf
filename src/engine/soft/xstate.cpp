#include "engine/soft/xstate.hpp"

#include <cpuid.h>

namespace nagaya::engine::soft {
namespace {

XLayout read_layout() {
  XLayout layout;
  // The legacy part is fixed.
  layout.size[x_x87] = 160;
  layout.offset[x_sse] = 160;
  layout.size[x_sse] = 256;
  for (unsigned i = 2; i < x_components; ++i) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(0xd, i, &a, &b, &c, &d) || a == 0) continue;
    layout.size[i] = a;
    layout.offset[i] = b;
    layout.align64[i] = c & 2;
  }
  alignas(16) std::array<u8, 512> fx{};
  asm volatile("fxsave %0" : "=m"(fx));
  u32 mask;
  std::memcpy(&mask, fx.data() + 28, sizeof mask);
  if (mask != 0) layout.mxcsr_mask = mask;
  return layout;
}

}  // namespace

const XLayout& xlayout() {
  static const XLayout layout = read_layout();
  return layout;
}

XsaveSizes xsave_sizes() {
  XsaveSizes out{};
  unsigned a = 0, b = 0, c = 0, d = 0;
  out.known = __get_cpuid_count(0xd, 1, &a, &b, &c, &d) && (a & 2);
  for (unsigned i = 0; i < 8; ++i) {
    out.size[i] = static_cast<u16>(xlayout().size[i]);
    out.offset[i] = static_cast<u16>(xlayout().offset[i]);
    out.align64[i] = xlayout().align64[i];
  }
  return out;
}

XState::XState(SoftCpu& cpu) : image_(cpu.s.xsave.data()), components_(cpu.host_xcr0) {
  put<u32>(28, xlayout().mxcsr_mask);
  const u64 used = in_use();
  for (unsigned i = 0; i < x_components; ++i) {
    if ((components_ >> i & 1) && !(used >> i & 1)) init(i);
  }
  // Instruction and data pointers of x87 are those of our code: nobody's business.
  std::memset(image_ + 6, 0, 18);
}

void XState::init(unsigned component) {
  if (component == x_x87) {
    std::memset(image_, 0, 24);
    std::memset(image_ + 32, 0, 128);
    put<u16>(0, fcw_init);
  } else {
    std::memset(image_ + xlayout().offset[component], 0, xlayout().size[component]);
  }
  put<u64>(xheader, in_use() & ~(u64{1} << component));
}

void XState::read_vector(unsigned reg, void* out, unsigned size) const {
  auto* to = static_cast<u8*>(out);
  const auto& layout = xlayout();
  std::memset(to, 0, size);
  if (reg >= 16) {
    std::memcpy(to, image_ + layout.offset[x_hi16_zmm] + std::size_t{64} * (reg - 16), size);
    return;
  }
  std::memcpy(to, image_ + 160 + std::size_t{16} * reg, 16);
  if (size > 16 && (components_ >> x_avx & 1)) std::memcpy(to + 16, image_ + layout.offset[x_avx] + std::size_t{16} * reg, 16);
  if (size > 32 && (components_ >> x_zmm_hi & 1)) {
    std::memcpy(to + 32, image_ + layout.offset[x_zmm_hi] + std::size_t{32} * reg, 32);
  }
}

void XState::write_vector(unsigned reg, const void* data, unsigned size, bool clear_rest) {
  const auto* from = static_cast<const u8*>(data);
  const auto& layout = xlayout();
  u8 value[64] = {};
  if (!clear_rest) read_vector(reg, value, reg >= 16 || (components_ >> x_zmm_hi & 1) ? 64 : 32);
  std::memcpy(value, from, size);
  if (reg >= 16) {
    std::memcpy(image_ + layout.offset[x_hi16_zmm] + std::size_t{64} * (reg - 16), value, 64);
    use(x_hi16_zmm);
    return;
  }
  std::memcpy(image_ + 160 + std::size_t{16} * reg, value, 16);
  use(x_sse);
  if (components_ >> x_avx & 1) {
    std::memcpy(image_ + layout.offset[x_avx] + std::size_t{16} * reg, value + 16, 16);
    use(x_avx);
  }
  if (components_ >> x_zmm_hi & 1) {
    std::memcpy(image_ + layout.offset[x_zmm_hi] + std::size_t{32} * reg, value + 32, 32);
    use(x_zmm_hi);
  }
}

u64 XState::opmask(unsigned k) const { return get<u64>(xlayout().offset[x_opmask] + std::size_t{8} * k); }

void XState::set_opmask(unsigned k, u64 value) {
  put<u64>(xlayout().offset[x_opmask] + std::size_t{8} * k, value);
  use(x_opmask);
}

}  // namespace nagaya::engine::soft

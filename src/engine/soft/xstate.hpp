// The guest's x87 and vector state as the standard-format XSAVE image s.xsave, laid out as the host's XSAVE does.
// Source: Intel SDM vol. 1, chapter 13.
#pragma once
#include <array>
#include <cstring>

#include "engine/soft/cpu.hpp"

namespace nagaya::engine::soft {

enum XComponent : unsigned { x_x87 = 0, x_sse = 1, x_avx = 2, x_opmask = 5, x_zmm_hi = 6, x_hi16_zmm = 7 };
inline constexpr unsigned x_components = 20;  ///< numbers the layout covers

/// Where a component lies, as CPUID leaf 0Dh tells on this host.
struct XLayout {
  std::array<u32, x_components> offset{}, size{};
  std::array<bool, x_components> align64{};
  u32 mxcsr_mask = 0xffbf;
};
const XLayout& xlayout();
/// The same for light code; not `known` where the host lacks XSAVEC.
XsaveSizes xsave_sizes();

inline constexpr unsigned xheader = 512, xlegacy_end = 576;
inline constexpr u32 mxcsr_init = 0x1f80;
inline constexpr u16 fcw_init = 0x37f;

/// A view of s.xsave.
class XState {
 public:
  /// Also gives every component that the header says is in its initial state that state's bytes, so that the image
  /// can be read whole.
  explicit XState(SoftCpu& cpu);

  [[nodiscard]] u8* bytes() { return image_; }
  [[nodiscard]] u64 in_use() const { return get<u64>(xheader); }
  /// From now on the component is as its bytes say.
  void use(unsigned component) { put<u64>(xheader, in_use() | u64{1} << component); }
  /// Puts a component into its initial state. MXCSR is not part of x_sse here.
  void init(unsigned component);

  template <class T>
  [[nodiscard]] T get(std::size_t offset) const {
    T value;
    std::memcpy(&value, image_ + offset, sizeof value);
    return value;
  }
  template <class T>
  void put(std::size_t offset, T value) {
    std::memcpy(image_ + offset, &value, sizeof value);
  }
  [[nodiscard]] u32 mxcsr() const { return get<u32>(24); }
  void set_mxcsr(u32 value) { put<u32>(24, value); }

  /// Vector register 0..31, `size` bytes (16, 32, 64) of it.
  void read_vector(unsigned reg, void* out, unsigned size) const;
  /// Writes `size` bytes; with `clear_rest` the bits above become zero (VEX, EVEX), else they stay (legacy SSE).
  void write_vector(unsigned reg, const void* data, unsigned size, bool clear_rest);
  [[nodiscard]] u64 opmask(unsigned k) const;
  void set_opmask(unsigned k, u64 value);

 private:
  u8* image_;
  u64 components_;
};

}  // namespace nagaya::engine::soft

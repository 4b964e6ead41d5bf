// The versioned archive of saved state. A file is: magic, format version, then named sections ("chipset.pic0", version,
// length, payload, CRC32). Within a section values are written and read in order, little-endian. The Reader trusts
// nothing: every read is bounded by its section, a wrong name, version, length or checksum is an Error.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::state {

/// Builds one section's payload.
class Writer {
 public:
  template <class T>
    requires(std::is_integral_v<T> || std::is_enum_v<T>)
  void put(T value) {
    auto bits = static_cast<u64>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(static_cast<u8>(bits >> (8 * i)));
  }
  void put_bytes(std::span<const u8> data);
  void put_string(std::string_view text);
  [[nodiscard]] const std::vector<u8>& bytes() const { return bytes_; }

 private:
  std::vector<u8> bytes_;
};

/// Reads one section's payload. After the first short read every later read yields zero and `finish` reports it, so that
/// a device's restore reads straight through and checks once.
class Reader {
 public:
  Reader() = default;
  Reader(std::string section, u32 version, std::span<const u8> payload)
      : section_(std::move(section)), version_(version), rest_(payload) {}
  [[nodiscard]] u32 version() const { return version_; }
  template <class T>
    requires(std::is_integral_v<T> || std::is_enum_v<T>)
  T get() {
    if constexpr (std::is_same_v<T, bool>) {
      return get<u8>() != 0;
    } else {
      u64 bits = 0;
      if (rest_.size() < sizeof(T)) {
        short_ = true;
        rest_ = {};
        return T{};
      }
      for (std::size_t i = 0; i < sizeof(T); ++i) bits |= static_cast<u64>(rest_[i]) << (8 * i);
      rest_ = rest_.subspan(sizeof(T));
      return static_cast<T>(bits);
    }
  }
  template <class T>
  void get(T& value) {
    value = get<T>();
  }
  void get_bytes(std::span<u8> out);
  [[nodiscard]] std::string get_string();  // at most 64 KiB
  /// Records that a value makes no sense ("queue size is 0"); reported by finish().
  void reject(std::string why);
  /// Error when anything was short, rejected, or left over.
  [[nodiscard]] Result<> finish();

 private:
  std::string section_;
  u32 version_ = 0;
  std::span<const u8> rest_;
  bool short_ = false;
  std::string rejected_;
};

/// A whole archive in memory, apart from bulk RAM, which the machine writes behind it.
class ArchiveWriter {
 public:
  /// Adds a section; names are unique.
  void add(std::string_view name, u32 version, const Writer& payload);
  [[nodiscard]] std::vector<u8> finish() const;

 private:
  std::vector<u8> body_;
  u32 count_ = 0;
};

class ArchiveReader {
 public:
  /// Checks magic, format version, bounds and checksums of all sections.
  static Result<ArchiveReader> parse(std::vector<u8> bytes);
  /// The section with this name and a version between 1 and `newest`.
  [[nodiscard]] Result<Reader> open(std::string_view name, u32 newest) const;
  [[nodiscard]] bool has(std::string_view name) const;

 private:
  struct Section {
    std::string name;
    u32 version;
    std::size_t offset, size;
  };
  std::vector<u8> bytes_;
  std::vector<Section> sections_;
};

}  // namespace nagaya::state

#include "state/archive.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "state/crc32.hpp"

namespace nagaya::state {
namespace {

// File: magic (8), format version (4), section count (4), sections. Section: name length (2), name, version (4),
// payload length (8), payload, CRC-32 of all of the section before it (4).
constexpr std::string_view magic = "NAGAYAST";
constexpr u32 format_version = 1;
constexpr std::size_t longest_name = 64;
constexpr std::size_t longest_string = 64 * KiB;
constexpr u32 most_sections = 4096;

template <class T>
void append(std::vector<u8>& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<u8>(static_cast<u64>(value) >> (8 * i)));
}

std::unexpected<Error> damaged(std::string why) {
  return fail("saved state is not usable", std::move(why), "the file is damaged or not a saved state");
}

/// Reads bounded little-endian values off a byte span.
struct Cursor {
  std::span<const u8> rest;
  template <class T>
  bool take(T& value) {
    if (rest.size() < sizeof(T)) return false;
    u64 bits = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) bits |= static_cast<u64>(rest[i]) << (8 * i);
    value = static_cast<T>(bits);
    rest = rest.subspan(sizeof(T));
    return true;
  }
  bool skip(u64 count) {
    if (rest.size() < count) return false;
    rest = rest.subspan(static_cast<std::size_t>(count));
    return true;
  }
};

}  // namespace

void Writer::put_bytes(std::span<const u8> data) { bytes_.insert(bytes_.end(), data.begin(), data.end()); }

void Writer::put_string(std::string_view text) {
  text = text.substr(0, longest_string);
  put(static_cast<u32>(text.size()));
  bytes_.insert(bytes_.end(), text.begin(), text.end());
}

void Reader::get_bytes(std::span<u8> out) {
  if (rest_.size() < out.size()) {
    short_ = true;
    rest_ = {};
    std::ranges::fill(out, u8{0});
    return;
  }
  if (out.empty()) return;  // memcpy wants no null pointers even for nothing
  std::memcpy(out.data(), rest_.data(), out.size());
  rest_ = rest_.subspan(out.size());
}

std::string Reader::get_string() {
  const u32 size = get<u32>();
  if (size > longest_string || size > rest_.size()) {
    short_ = true;
    rest_ = {};
    return {};
  }
  std::string text(rest_.begin(), rest_.begin() + size);
  rest_ = rest_.subspan(size);
  return text;
}

void Reader::reject(std::string why) {
  if (rejected_.empty()) rejected_ = std::move(why);
}

Result<> Reader::finish() {
  const std::string what = fmt::format("saved state of '{}'", section_);
  if (short_) return fail(what, "too short");
  if (!rejected_.empty()) return fail(what, rejected_);
  if (!rest_.empty()) return fail(what, fmt::format("{} bytes too many", rest_.size()));
  return {};
}

void ArchiveWriter::add(std::string_view name, u32 version, const Writer& payload) {
  const std::size_t start = body_.size();
  append(body_, static_cast<u16>(name.size()));
  body_.insert(body_.end(), name.begin(), name.end());
  append(body_, version);
  append(body_, static_cast<u64>(payload.bytes().size()));
  body_.insert(body_.end(), payload.bytes().begin(), payload.bytes().end());
  append(body_, crc32(std::span(body_).subspan(start)));
  ++count_;
}

std::vector<u8> ArchiveWriter::finish() const {
  std::vector<u8> out(magic.begin(), magic.end());
  append(out, format_version);
  append(out, count_);
  out.insert(out.end(), body_.begin(), body_.end());
  return out;
}

Result<ArchiveReader> ArchiveReader::parse(std::vector<u8> bytes) {
  ArchiveReader reader;
  Cursor cursor{bytes};
  u32 version = 0, count = 0;
  if (bytes.size() < magic.size() || std::memcmp(bytes.data(), magic.data(), magic.size()) != 0) {
    return damaged("it does not begin as one");
  }
  (void)cursor.skip(magic.size());
  if (!cursor.take(version) || !cursor.take(count)) return damaged("the header is cut off");
  if (version != format_version) {
    return fail("saved state is not usable", fmt::format("its format is {}, this program reads {}", version, format_version));
  }
  if (count > most_sections) return damaged("too many sections");
  for (u32 i = 0; i < count; ++i) {
    const std::span<const u8> begin = cursor.rest;
    u16 name_size = 0;
    u64 size = 0;
    u32 checksum = 0;
    Section section{};
    if (!cursor.take(name_size) || name_size == 0 || name_size > longest_name || cursor.rest.size() < name_size) {
      return damaged(fmt::format("the name of section {} makes no sense", i));
    }
    section.name.assign(cursor.rest.begin(), cursor.rest.begin() + name_size);
    (void)cursor.skip(name_size);
    if (!cursor.take(section.version) || !cursor.take(size)) return damaged("a section is cut off");
    section.offset = bytes.size() - cursor.rest.size();
    section.size = static_cast<std::size_t>(size);
    if (!cursor.skip(size)) return damaged(fmt::format("section {} is longer than the file", i));
    const std::size_t covered = begin.size() - cursor.rest.size();
    if (!cursor.take(checksum) || checksum != crc32(begin.first(covered))) {
      return damaged(fmt::format("the checksum of section {} does not fit", i));
    }
    if (reader.has(section.name)) return damaged(fmt::format("section {} is there twice", i));
    reader.sections_.push_back(std::move(section));
  }
  if (!cursor.rest.empty()) return damaged("it goes on past its end");
  reader.bytes_ = std::move(bytes);
  return reader;
}

bool ArchiveReader::has(std::string_view name) const {
  return std::ranges::any_of(sections_, [&](const Section& s) { return s.name == name; });
}

Result<Reader> ArchiveReader::open(std::string_view name, u32 newest) const {
  const auto it = std::ranges::find_if(sections_, [&](const Section& s) { return s.name == name; });
  if (it == sections_.end()) return fail(fmt::format("saved state of '{}'", name), "it is missing");
  if (it->version == 0 || it->version > newest) {
    return fail(fmt::format("saved state of '{}'", name),
                fmt::format("its version is {}, this program reads 1 to {}", it->version, newest));
  }
  return Reader(it->name, it->version, std::span(bytes_).subspan(it->offset, it->size));
}

}  // namespace nagaya::state

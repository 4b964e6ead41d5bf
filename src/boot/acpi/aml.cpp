#include "boot/acpi/aml.hpp"

#include <algorithm>
#include <array>

namespace nagaya::boot::aml {
namespace {

constexpr u8 ext_prefix = 0x5b, device_op = 0x82;
constexpr u8 name_op = 0x08, scope_op = 0x10, buffer_op = 0x11, package_op = 0x12, method_op = 0x14;
constexpr u8 dual_name = 0x2e, multi_name = 0x2f, local0 = 0x60, arg0 = 0x68;

// PkgLength counts itself: one byte up to 63, else a lead byte with the low 4 bits and 1..3 bytes of 8 bits more.
Bytes package_length(std::size_t content) {
  Bytes out;
  std::size_t extra = 0;
  if (content + 1 > 0x3f) {
    extra = content + 2 <= 0xfff ? 1 : content + 3 <= 0xf'ffff ? 2 : 3;
  }
  const std::size_t total = content + 1 + extra;
  if (extra == 0) {
    out.push_back(static_cast<u8>(total));
    return out;
  }
  out.push_back(static_cast<u8>(extra << 6 | (total & 0xf)));
  for (std::size_t i = 0; i < extra; ++i) out.push_back(static_cast<u8>(total >> (4 + 8 * i)));
  return out;
}

Term with_length(std::initializer_list<u8> opcode, const Term& content) {
  Term out(opcode);
  append(out, package_length(content.size()));
  append(out, content);
  return out;
}

Term operation(u8 opcode, std::initializer_list<Term> operands) {
  Term out{opcode};
  append(out, join(operands));
  return out;
}

u8 hex_digit(char c) {
  return static_cast<u8>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

// Address space descriptors of three widths share a shape: granularity, first, last, translation, length.
template <std::unsigned_integral T>
Term window(u8 tag, u8 kind, u8 kind_flags, T first, T last) {
  Term out{tag};
  append<u16>(out, 3 + 5 * sizeof(T));
  append<u8>(out, kind);
  append<u8>(out, 0x0c);  // producer, positive decode, both ends fixed
  append<u8>(out, kind_flags);
  append<T>(out, 0);
  append<T>(out, first);
  append<T>(out, last);
  append<T>(out, 0);
  append<T>(out, static_cast<T>(last - first + 1));
  return out;
}

constexpr u8 word_tag = 0x88, dword_tag = 0x87, qword_tag = 0x8a;
constexpr u8 kind_memory = 0, kind_io = 1, kind_bus = 2;
constexpr u8 memory_read_write = 1, memory_prefetchable = 3 << 1, io_entire_range = 3;

}  // namespace

Term join(std::initializer_list<Term> terms) {
  Term out;
  for (const Term& term : terms) append(out, term);
  return out;
}

Term integer(u64 value) {
  if (value <= 1) return {static_cast<u8>(value)};  // ZeroOp, OneOp
  Term out;
  if (value <= 0xff) {
    out.push_back(0x0a);
    append(out, static_cast<u8>(value));
  } else if (value <= 0xffff) {
    out.push_back(0x0b);
    append(out, static_cast<u16>(value));
  } else if (value <= 0xffff'ffff) {
    out.push_back(0x0c);
    append(out, static_cast<u32>(value));
  } else {
    out.push_back(0x0e);
    append(out, value);
  }
  return out;
}

Term string(std::string_view text) {
  Term out{0x0d};
  append_text(out, text, text.size());
  out.push_back(0);
  return out;
}

Term eisa_id(std::string_view id) {
  const auto letter = [&](std::size_t i) { return static_cast<u32>(id[i] - 'A' + 1) & 0x1f; };
  const u32 maker = letter(0) << 10 | letter(1) << 5 | letter(2);
  u32 product = 0;
  for (char c : id.substr(3, 4)) product = product << 4 | hex_digit(c);
  // Stored big-endian: the two bytes of the maker first.
  const u32 value = (maker >> 8 & 0xff) | (maker & 0xff) << 8 | (product >> 8 & 0xff) << 16 | (product & 0xff) << 24;
  return integer(value);
}

Term buffer(std::span<const u8> bytes) {
  Term content = integer(bytes.size());
  append(content, bytes);
  return with_length({buffer_op}, content);
}

Term uuid(std::string_view text) {
  // ACPI 6.5, 19.6.142: the first three groups are little-endian.
  constexpr std::array<std::size_t, 16> order = {6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34};
  Bytes bytes;
  for (std::size_t at : order) bytes.push_back(static_cast<u8>(hex_digit(text[at]) << 4 | hex_digit(text[at + 1])));
  return buffer(bytes);
}

Term package(std::span<const Term> elements) {
  Term content{static_cast<u8>(elements.size())};
  for (const Term& element : elements) append(content, element);
  return with_length({package_op}, content);
}

Term package(std::initializer_list<Term> elements) { return package(std::span(elements.begin(), elements.size())); }

Term path(std::string_view text) {
  Term out;
  if (text.starts_with('\\')) {
    out.push_back('\\');
    text.remove_prefix(1);
  }
  const auto segments = static_cast<std::size_t>(std::ranges::count(text, '.') + 1);
  if (segments == 2) out.push_back(dual_name);
  if (segments > 2) {
    out.push_back(multi_name);
    out.push_back(static_cast<u8>(segments));
  }
  while (!text.empty()) {
    const std::string_view segment = text.substr(0, text.find('.'));
    append_text(out, segment, 4, '_');
    text.remove_prefix(std::min(text.size(), segment.size() + 1));
  }
  return out;
}

Term name(std::string_view where, const Term& value) { return operation(name_op, {path(where), value}); }
Term scope(std::string_view where, const Term& content) {
  return with_length({scope_op}, join({path(where), content}));
}
Term device(std::string_view where, const Term& content) {
  return with_length({ext_prefix, device_op}, join({path(where), content}));
}
Term method(std::string_view where, unsigned arguments, const Term& content) {
  constexpr u8 serialized = 1 << 3;  // it creates named objects
  return with_length({method_op}, join({path(where), Term{static_cast<u8>((arguments & 7) | serialized)}, content}));
}

Term arg(unsigned number) { return {static_cast<u8>(arg0 + number)}; }
Term local(unsigned number) { return {static_cast<u8>(local0 + number)}; }
Term store(const Term& value, const Term& target) { return operation(0x70, {value, target}); }
Term bit_and(const Term& a, const Term& b, const Term& target) { return operation(0x7b, {a, b, target}); }
Term bit_or(const Term& a, const Term& b, const Term& target) { return operation(0x7d, {a, b, target}); }
Term equal(const Term& a, const Term& b) { return operation(0x93, {a, b}); }
Term negate(const Term& a) { return operation(0x92, {a}); }
Term when(const Term& condition, const Term& content) { return with_length({0xa0}, join({condition, content})); }
Term otherwise(const Term& content) { return with_length({0xa1}, content); }
Term give(const Term& value) { return operation(0xa4, {value}); }
Term create_dword_field(const Term& source, u64 offset, std::string_view field) {
  return operation(0x8a, {source, integer(offset), path(field)});
}

Term io(u16 port, u8 count) {
  Term out{0x47, 1};  // all 16 address bits decoded
  append(out, port);
  append(out, port);
  out.push_back(1);
  out.push_back(count);
  return out;
}

Term irq(unsigned line) {
  Term out{0x22};  // edge-triggered, active high, exclusive
  append(out, static_cast<u16>(1u << line));
  return out;
}

Term memory32_fixed(u32 base, u32 size) {
  Term out{0x86, 9, 0, 1};
  append(out, base);
  append(out, size);
  return out;
}

Term bus_range(u16 first, u16 last) { return window<u16>(word_tag, kind_bus, 0, first, last); }
Term io_window(u16 first, u16 last) { return window<u16>(word_tag, kind_io, io_entire_range, first, last); }
Term memory_window32(u32 first, u32 last) {
  return window<u32>(dword_tag, kind_memory, memory_read_write, first, last);
}
Term memory_window64(u64 first, u64 last) {
  return window<u64>(qword_tag, kind_memory, memory_read_write | memory_prefetchable, first, last);
}

Term resources(std::initializer_list<Term> descriptors) {
  Term content = join(descriptors);
  content.push_back(0x79);  // end tag, checksum not used
  content.push_back(0);
  return buffer(content);
}

}  // namespace nagaya::boot::aml

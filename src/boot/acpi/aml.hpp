// Builds ACPI machine language, as much of it as a PC's DSDT needs. Each function returns the encoding of one term;
// terms nest by being passed on. Source: ACPI 6.5, chapter 20.
#pragma once
#include <initializer_list>
#include <string_view>

#include "boot/bytes.hpp"

namespace nagaya::boot::aml {

/// An encoded term or list of terms.
using Term = Bytes;

[[nodiscard]] Term join(std::initializer_list<Term> terms);

// Data.
[[nodiscard]] Term integer(u64 value);
[[nodiscard]] Term string(std::string_view text);
/// A compressed EISA id such as "PNP0A08" (three letters, four hexadecimal digits).
[[nodiscard]] Term eisa_id(std::string_view id);
[[nodiscard]] Term buffer(std::span<const u8> bytes);
/// The 16-byte buffer of a UUID "33db4d5b-1ff7-401c-9657-7441c03dd766" (ToUUID).
[[nodiscard]] Term uuid(std::string_view text);
/// At most 255 elements.
[[nodiscard]] Term package(std::span<const Term> elements);
[[nodiscard]] Term package(std::initializer_list<Term> elements);

// Names: segments of up to four of A-Z, 0-9, _ separated by dots, after an optional backslash.
[[nodiscard]] Term path(std::string_view text);
[[nodiscard]] Term name(std::string_view where, const Term& value);
[[nodiscard]] Term scope(std::string_view where, const Term& content);
[[nodiscard]] Term device(std::string_view where, const Term& content);
[[nodiscard]] Term method(std::string_view where, unsigned arguments, const Term& content);

// Statements and expressions. `arg` and `local` count from 0.
[[nodiscard]] Term arg(unsigned number);
[[nodiscard]] Term local(unsigned number);
[[nodiscard]] Term store(const Term& value, const Term& target);
[[nodiscard]] Term bit_and(const Term& a, const Term& b, const Term& target);
[[nodiscard]] Term bit_or(const Term& a, const Term& b, const Term& target);
[[nodiscard]] Term equal(const Term& a, const Term& b);
[[nodiscard]] Term negate(const Term& a);
[[nodiscard]] Term when(const Term& condition, const Term& content);
[[nodiscard]] Term otherwise(const Term& content);
[[nodiscard]] Term give(const Term& value);
/// Names the 32-bit field at byte `offset` of buffer `source`.
[[nodiscard]] Term create_dword_field(const Term& source, u64 offset, std::string_view field);

// Resource descriptors (ACPI 6.5, 6.4); `resources` makes the buffer of a _CRS from them.
[[nodiscard]] Term io(u16 port, u8 count);
[[nodiscard]] Term irq(unsigned line);
[[nodiscard]] Term memory32_fixed(u32 base, u32 size);
[[nodiscard]] Term bus_range(u16 first, u16 last);
[[nodiscard]] Term io_window(u16 first, u16 last);
[[nodiscard]] Term memory_window32(u32 first, u32 last);
/// Prefetchable.
[[nodiscard]] Term memory_window64(u64 first, u64 last);
[[nodiscard]] Term resources(std::initializer_list<Term> descriptors);

}  // namespace nagaya::boot::aml

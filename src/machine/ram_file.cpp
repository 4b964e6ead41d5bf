#include "machine/ram_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "host/fd.hpp"
#include "state/crc32.hpp"

namespace nagaya::machine {
namespace {

// A record: guest-physical address (8), pages (4), CRC-32 of address, pages and data (4), data. The last has 0 pages
// and as its address the number of pages in all the records before it.
constexpr u32 most_pages = 256;
constexpr std::size_t header_size = 16;

bool is_zero(const std::byte* page) {
  // A page of zeros equals itself moved by a byte, and begins with one.
  return page[0] == std::byte{0} && std::memcmp(page, page + 1, page_size - 1) == 0;
}

void put(u8* at, u64 value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) at[i] = static_cast<u8>(value >> (8 * i));
}
u64 get(const u8* at, std::size_t size) {
  u64 value = 0;
  for (std::size_t i = 0; i < size; ++i) value |= static_cast<u64>(at[i]) << (8 * i);
  return value;
}

Result<> write_record(int fd, u64 address, u32 pages, std::span<const u8> data) {
  std::array<u8, header_size> header{};
  put(&header[0], address, 8);
  put(&header[8], pages, 4);
  put(&header[12], state::crc32(data, state::crc32(std::span(header).first(12))), 4);
  TRY(host::write_all(fd, header));
  return host::write_all(fd, data);
}

/// Calls `visit(offset, size)` for each part of the RAM file that is not a hole.
template <class Visit>
Result<> each_data(int fd, u64 begin, u64 end, Visit visit) {
  u64 at = begin;
  while (at < end) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 || static_cast<u64>(data) >= end) break;  // ENXIO: nothing but a hole
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    const u64 stop = hole < 0 ? end : std::min(end, static_cast<u64>(hole));
    TRY(visit(static_cast<u64>(data) & ~(page_size - 1), (stop + page_size - 1) & ~(page_size - 1)));
    at = stop;
  }
  return {};
}

/// Wholly inside one region of RAM: persistent memory is not part of a saved machine.
bool is_ram(const memory::GuestMemory& memory, u64 address, u64 size) {
  return std::ranges::any_of(memory.regions(), [&](const memory::Region& region) {
    return region.is_ram() && address >= region.gpa.value && address - region.gpa.value < region.size &&
           size <= region.size - (address - region.gpa.value);
  });
}

std::unexpected<Error> damaged(std::string why) { return fail("saved memory is not usable", std::move(why)); }

}  // namespace

Result<> write_ram(int fd, const memory::GuestMemory& memory) {
  u64 total = 0;
  for (const memory::Region& region : memory.regions()) {
    if (!region.is_ram()) continue;
    const auto visit = [&](u64 from, u64 to) -> Result<> {
      const auto* base = region.hva - region.file_offset;
      u64 at = from;
      while (at < to) {
        while (at < to && is_zero(base + at)) at += page_size;
        const u64 start = at;
        while (at < to && at - start < most_pages * page_size && !is_zero(base + at)) at += page_size;
        if (at == start) continue;
        const u32 pages = static_cast<u32>((at - start) / page_size);
        TRY(write_record(fd, region.gpa.value + (start - region.file_offset), pages,
                         std::span(reinterpret_cast<const u8*>(base + start), at - start)));
        total += pages;
      }
      return {};
    };
    TRY(each_data(memory.fd(), region.file_offset, region.file_offset + region.size, visit));
  }
  return write_record(fd, total, 0, {});
}

Result<> read_ram(int fd, memory::GuestMemory& memory) {
  std::vector<u8> data(most_pages * page_size);
  u64 next = 0, total = 0;
  while (true) {
    std::array<u8, header_size> header{};
    TRY_ASSIGN(const std::size_t got, host::read_up_to(fd, header));
    if (got != header.size()) return damaged("it is cut off");
    const u64 address = get(&header[0], 8);
    const u32 pages = static_cast<u32>(get(&header[8], 4));
    if (pages > most_pages) return damaged("a record is too long");
    const auto payload = std::span(data).first(pages * page_size);
    TRY_ASSIGN(const std::size_t filled, host::read_up_to(fd, payload));
    if (filled != payload.size()) return damaged("it is cut off");
    if (state::crc32(payload, state::crc32(std::span(header).first(12))) != get(&header[12], 4)) {
      return damaged("a checksum does not fit");
    }
    if (pages == 0) {
      if (address != total) return damaged("pages are missing");
      u8 more = 0;
      TRY_ASSIGN(const std::size_t rest, host::read_up_to(fd, std::span(&more, 1)));
      if (rest != 0) return damaged("the file goes on past its end");
      return {};
    }
    if (address % page_size != 0 || address < next) return damaged("records are out of order");
    if (!is_ram(memory, address, payload.size())) {
      return damaged(fmt::format("address {:#x} is not RAM of this machine", address));
    }
    TRY(memory.write(Gpa(address), payload));
    next = address + payload.size();
    total += pages;
  }
}

}  // namespace nagaya::machine

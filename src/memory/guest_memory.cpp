#include "memory/guest_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace nagaya::memory {
namespace {

constexpr u64 largest_ram = 64ull * 1024 * GiB;  // 2^46: fits any guest physical address width we show
constexpr u64 round_up(u64 value) { return (value + page_size - 1) & ~(page_size - 1); }

}  // namespace

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(u64 size, u64 low_limit) {
  if (size == 0 || size % page_size != 0) {
    return fail(fmt::format("guest memory of {} bytes", size), "it must be a multiple of 4096 and not 0");
  }
  if (size > largest_ram) return fail(fmt::format("guest memory of {} bytes", size), "more than 64 TiB");
  if (low_limit == 0 || low_limit % page_size != 0 || low_limit > 4 * GiB) {
    return fail("guest memory layout", "the low part must end at a page below 4 GiB");
  }
  auto memory = std::unique_ptr<GuestMemory>(new GuestMemory);
  memory->ram_size_ = size;
  TRY_ASSIGN(memory->fd_, host::Fd::memfd("guest-ram", size));
  TRY_ASSIGN(memory->mapping_, host::Mapping::shared(memory->fd_.get(), 0, size, PROT_READ | PROT_WRITE));
  // A large guest touches most of what it was given; for a small one huge pages would only waste the host's memory.
  if (size >= GiB) memory->mapping_.advise(MADV_HUGEPAGE);
  memory->mapping_.advise(MADV_DONTDUMP);

  const u64 low = std::min(size, low_limit);
  memory->regions_.push_back({Gpa(0), low, memory->mapping_.data(), 0, false});
  if (size > low) memory->regions_.push_back({Gpa(4 * GiB), size - low, memory->mapping_.data() + low, low, false});
  return memory;
}

GuestMemory::~GuestMemory() = default;

Result<> GuestMemory::add_rom(Gpa gpa, std::span<const u8> content) {
  const u64 size = round_up(content.size());
  TRY(check_free(gpa, size, "ROM"));
  TRY_ASSIGN(auto mapping, host::Mapping::anonymous(size, PROT_READ | PROT_WRITE));
  std::memcpy(mapping.data(), content.data(), content.size());
  TRY(mapping.protect(0, size, PROT_READ));
  const Region region{gpa, size, mapping.data(), 0, true, RegionKind::rom};
  add(region, std::move(mapping));
  return {};
}

Result<> GuestMemory::add_file(Gpa gpa, int fd, u64 file_size, u64 size, bool writable) {
  TRY(check_free(gpa, size, "file"));
  if (file_size > size || size % page_size != 0 || (writable && file_size != size)) {
    return fail(fmt::format("file of {} bytes at {:#x}", file_size, gpa.value), "bad size");
  }
  TRY_ASSIGN(auto mapping, host::Mapping::padded(fd, file_size, size, writable ? PROT_READ | PROT_WRITE : PROT_READ));
  mapping.advise(MADV_DONTDUMP);
  const Region region{gpa, size, mapping.data(), 0, !writable, RegionKind::file};
  add(region, std::move(mapping));
  return {};
}

Result<> GuestMemory::check_free(Gpa gpa, u64 size, const char* what) const {
  if (size == 0 || gpa.value % page_size != 0 || gpa.value + size < gpa.value) {
    return fail(fmt::format("{} of {} bytes at {:#x}", what, size, gpa.value), "bad size or address");
  }
  for (const Region& other : regions_) {
    if (gpa.value < other.gpa.value + other.size && other.gpa.value < gpa.value + size) {
      return fail(fmt::format("{} of {} bytes at {:#x}", what, size, gpa.value), "overlaps other memory");
    }
  }
  return {};
}

void GuestMemory::add(const Region& region, host::Mapping mapping) {
  regions_.insert(std::ranges::upper_bound(regions_, region.gpa, {}, &Region::gpa), region);
  other_mappings_.push_back(std::move(mapping));
}

const Region* GuestMemory::find(Gpa gpa) const {
  for (const Region& region : regions_) {  // a handful at most
    if (gpa.value >= region.gpa.value && gpa.value - region.gpa.value < region.size) return &region;
  }
  return nullptr;
}

Hva GuestMemory::host(Gpa gpa, u64 size, bool write) const {
  const Region* region = find(gpa);
  if (region == nullptr || (write && region->readonly)) return nullptr;
  const u64 offset = gpa.value - region->gpa.value;
  if (size > region->size - offset) return nullptr;
  return region->hva + offset;
}

Result<> GuestMemory::read(Gpa gpa, std::span<u8> out) const {
  while (!out.empty()) {
    const Region* region = find(gpa);
    if (region == nullptr) return fail(fmt::format("read of guest memory at {:#x}", gpa.value), "no memory there");
    const u64 offset = gpa.value - region->gpa.value;
    const u64 count = std::min<u64>(out.size(), region->size - offset);
    std::memcpy(out.data(), region->hva + offset, count);
    out = out.subspan(count);
    gpa = gpa + count;
  }
  return {};
}

Result<> GuestMemory::write(Gpa gpa, std::span<const u8> data) {
  while (!data.empty()) {
    const Region* region = find(gpa);
    if (region == nullptr || region->readonly) {
      return fail(fmt::format("write of guest memory at {:#x}", gpa.value),
                  region != nullptr ? "it is read-only" : "no memory there");
    }
    const u64 offset = gpa.value - region->gpa.value;
    const u64 count = std::min<u64>(data.size(), region->size - offset);
    std::memcpy(region->hva + offset, data.data(), count);
    wrote(gpa, count);
    data = data.subspan(count);
    gpa = gpa + count;
  }
  return {};
}

Result<> GuestMemory::fill(Gpa gpa, u64 size, u8 value) {
  while (size != 0) {
    const Region* region = find(gpa);
    if (region == nullptr || region->readonly) {
      return fail(fmt::format("fill of guest memory at {:#x}", gpa.value),
                  region != nullptr ? "it is read-only" : "no memory there");
    }
    const u64 offset = gpa.value - region->gpa.value;
    const u64 count = std::min<u64>(size, region->size - offset);
    std::memset(region->hva + offset, value, count);
    wrote(gpa, count);
    size -= count;
    gpa = gpa + count;
  }
  return {};
}

Result<> GuestMemory::give_back(Gpa gpa, u64 size) {
  const Region* region = find(gpa);
  const auto what = [&] { return fmt::format("giving back {} bytes of guest memory at {:#x}", size, gpa.value); };
  if (region == nullptr || !region->is_ram()) return fail(what(), "no RAM there");
  const u64 offset = gpa.value - region->gpa.value;
  if (offset % page_size != 0 || size % page_size != 0 || size > region->size - offset) return fail(what(), "not whole pages of one region");
  if (size == 0) return {};
  const auto at = static_cast<off_t>(region->file_offset + offset);
  if (fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, static_cast<off_t>(size)) != 0) return fail_errno(what());
  wrote(gpa, size);
  return {};
}

void GuestMemory::zero_ram() {
  // Punching the file frees the pages; where that is refused, writing zeros has the same effect for the guest.
  if (fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(ram_size_)) != 0) {
    std::memset(mapping_.data(), 0, ram_size_);
  }
  for (const Region& region : regions_) {
    if (region.is_ram()) wrote(region.gpa, region.size);
  }
}

}  // namespace nagaya::memory

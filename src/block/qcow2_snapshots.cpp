// Internal snapshots. A kill in the middle leaves the dirty bit set: the next writer rebuilds the refcounts.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>

#include "block/qcow2_image.hpp"

namespace nagaya::block::qcow2 {
namespace {

constexpr u64 fixed_bytes = 40;
constexpr u32 max_extra = 1024;
constexpr u64 max_all_l1_bytes = 512 * MiB;

u64 entry_bytes(const Snapshot& s) { return round_up(fixed_bytes + s.extra.size() + s.id.size() + s.name.size(), 8); }

u64 table_bytes(const std::vector<Snapshot>& all) {
  u64 sum = 0;
  for (const Snapshot& s : all) sum += entry_bytes(s);
  return sum;
}

void append_entry(std::vector<u8>& out, const Snapshot& s) {
  const std::size_t start = out.size();
  out.resize(start + entry_bytes(s));
  u8* p = &out[start];
  store_be<u64>(p, s.l1_offset);
  store_be<u32>(p + 8, s.l1_entries);
  store_be<u16>(p + 12, static_cast<u16>(s.id.size()));
  store_be<u16>(p + 14, static_cast<u16>(s.name.size()));
  store_be<u32>(p + 16, static_cast<u32>(s.seconds));
  store_be<u32>(p + 20, s.nanoseconds);
  store_be<u64>(p + 24, s.vm_clock);
  store_be<u32>(p + 32, static_cast<u32>(s.vm_state_size));
  store_be<u32>(p + 36, static_cast<u32>(s.extra.size()));
  p += fixed_bytes;
  p = std::ranges::copy(s.extra, p).out;
  p = std::ranges::copy(s.id, p).out;
  std::ranges::copy(s.name, p);
}

}  // namespace

Result<> Qcow2Image::load_snapshots() {
  snapshots_.clear();
  TRY_ASSIGN(const u64 file_bytes, file_.size());
  u64 at = header_.snapshots_offset, l1_bytes = 0;
  const u64 start = at;
  for (u32 i = 0; i < header_.snapshots; ++i) {
    std::array<u8, fixed_bytes> p{};
    if (!in_range(at, fixed_bytes, file_bytes)) return fail("the snapshot table lies outside the file");
    if (const int error = file_.read(at, p.data(), p.size()); error != 0) return fail_errno("cannot read the snapshots", error);
    Snapshot s;
    s.l1_offset = load_be<u64>(&p[0]);
    s.l1_entries = load_be<u32>(&p[8]);
    const u64 id = load_be<u16>(&p[12]), name = load_be<u16>(&p[14]);
    s.seconds = load_be<u32>(&p[16]);
    s.nanoseconds = load_be<u32>(&p[20]);
    s.vm_clock = load_be<u64>(&p[24]);
    s.vm_state_size = load_be<u32>(&p[32]);
    const u32 extra = load_be<u32>(&p[36]);
    if (extra > max_extra) return fail("the snapshot table is corrupt", fmt::format("{} bytes of extra data", extra));
    std::vector<u8> rest(extra + id + name);
    if (!in_range(at + fixed_bytes, rest.size(), file_bytes)) return fail("the snapshot table lies outside the file");
    if (const int error = file_.read(at + fixed_bytes, rest.data(), rest.size()); error != 0) {
      return fail_errno("cannot read the snapshots", error);
    }
    s.extra.assign(rest.begin(), rest.begin() + extra);
    s.id.assign(rest.begin() + extra, rest.begin() + extra + static_cast<std::ptrdiff_t>(id));
    s.name.assign(rest.begin() + extra + static_cast<std::ptrdiff_t>(id), rest.end());
    if (extra >= 8) s.vm_state_size = load_be<u64>(&s.extra[0]);
    s.disk_size = extra >= 16 ? load_be<u64>(&s.extra[8]) : header_.size;
    l1_bytes += u64{s.l1_entries} * 8;
    if (s.l1_offset & (cluster_size() - 1) || s.l1_offset >> 56 || u64{s.l1_entries} * 8 > max_l1_bytes ||
        l1_bytes > max_all_l1_bytes) {
      return fail("the snapshot table is corrupt", fmt::format("the L1 table of snapshot {}", i + 1));
    }
    at += entry_bytes(s);
    if (at - start > max_snapshot_bytes) return fail("the snapshot table is corrupt", "it is too long");
    snapshots_.push_back(std::move(s));
  }
  return {};
}

u64 Qcow2Image::snapshot_table_bytes() const { return table_bytes(snapshots_); }

const Snapshot* Qcow2Image::find_snapshot(const std::string& which) const {
  for (const Snapshot& s : snapshots_)
    if (s.name == which) return &s;
  for (const Snapshot& s : snapshots_)
    if (s.id == which) return &s;
  return nullptr;
}

// Counts every cluster that an L1 table leads to once more, or once less at the next commit.
int Qcow2Image::change_tree(const std::vector<u64>& l1, bool add) {
  const u32 bits = header_.cluster_bits;
  auto change = [&](u64 first, u64 count) {
    if (!add) {
      refcounts_.free_later(first, count);
      return 0;
    }
    for (u64 i = 0; i < count; ++i)
      if (const int error = refcounts_.increment(first + i); error != 0) return error;
    return 0;
  };
  packed_at_ = 0;
  for (const u64 raw : l1) {
    const u64 offset = raw & offset_mask;
    if (offset == 0) continue;
    if (offset & (cluster_size() - 1)) return EIO;
    auto table = l2_.get(offset);
    if (!table) return table.error();
    for (u64 i = 0; i < header_.l2_entries(); ++i) {
      auto entry = decode((*table)->entry(i));
      if (!entry) return entry.error();
      int error = 0;
      if (entry->kind == Kind::compressed) {
        const u64 first = entry->host >> bits, last = (entry->host + entry->bytes - 1) >> bits;
        error = change(first, last - first + 1);
      } else if (entry->host != 0) {
        error = change(entry->host >> bits, 1);
      }
      if (error != 0) return error;
    }
    if (const int error = change(offset >> bits, 1); error != 0) return error;
  }
  return 0;
}

// Makes the "refcount is 1" flags of the active tables true again.
int Qcow2Image::refresh_copied() {
  const u32 bits = header_.cluster_bits;
  for (u64 i = 0; i < l1_.size(); ++i) {
    const u64 offset = l1_[i] & offset_mask;
    if (offset == 0) continue;
    auto count = refcounts_.get(offset >> bits);
    if (!count) return count.error();
    const u64 wanted = offset | (*count == 1 ? flag_copied : 0);
    if (l1_[i] != wanted) {
      l1_[i] = wanted;
      l1_dirty_.insert(i);
    }
    auto table = l2_.get(offset);
    if (!table) return table.error();
    for (u64 slot = 0; slot < header_.l2_entries(); ++slot) {
      const u64 raw = (*table)->entry(slot);
      if (raw == 0 || (raw & flag_compressed)) {
        if ((raw & flag_compressed) && (raw & flag_copied)) (*table)->set_entry(slot, raw & ~flag_copied);
        continue;
      }
      auto entry = decode(raw);
      if (!entry) return entry.error();
      bool alone = false;
      if (entry->host != 0) {
        auto uses = refcounts_.get(entry->host >> bits);
        if (!uses) return uses.error();
        alone = *uses == 1;
      }
      if (alone != entry->copied) (*table)->set_entry(slot, alone ? raw | flag_copied : raw & ~flag_copied);
    }
    if (l2_.crowded()) {
      if (const int error = l2_.write_back(); error != 0) return error;
    }
  }
  changed_ = true;
  return 0;
}

Result<> Qcow2Image::write_snapshot_table(const std::vector<Snapshot>& snapshots) {
  const std::string what = fmt::format("cannot write the snapshot table of '{}'", file_.name());
  std::vector<u8> raw;
  for (const Snapshot& s : snapshots) append_entry(raw, s);
  if (raw.size() > max_snapshot_bytes || snapshots.size() > max_snapshots) return fail(what, "there are too many snapshots");
  u64 place = 0;
  if (!raw.empty()) {
    auto got = refcounts_.allocate(clusters_of(raw.size()));
    if (!got) return fail_errno(what, got.error());
    place = *got;
    refcounts_.touched(place, clusters_of(raw.size()));
  }
  int error = raw.empty() ? 0 : file_.write(place << header_.cluster_bits, raw.data(), raw.size());
  if (error == 0) error = commit();
  if (error == 0) error = refcounts_.write_back();
  std::array<u8, 12> fields{};
  store_be<u32>(fields.data(), static_cast<u32>(snapshots.size()));
  store_be<u64>(fields.data() + 4, place << header_.cluster_bits);
  if (error == 0) error = file_.sync();
  if (error == 0) error = file_.write(field::snapshots, fields.data(), fields.size());
  if (error == 0) error = file_.sync();
  if (error != 0) return fail_errno(what, error);
  if (!snapshots_.empty()) {
    refcounts_.free_later(header_.snapshots_offset >> header_.cluster_bits, clusters_of(table_bytes(snapshots_)));
  }
  header_.snapshots = static_cast<u32>(snapshots.size());
  header_.snapshots_offset = place << header_.cluster_bits;
  snapshots_ = snapshots;
  return {};
}

// Puts another L1 table, and perhaps another size, in force by one write to the header.
Result<> Qcow2Image::replace_l1(std::vector<u64> l1, u64 size) {
  const std::string what = fmt::format("cannot replace the L1 table of '{}'", file_.name());
  std::vector<u8> raw(std::max<u64>(l1.size(), 1) * 8);
  for (u64 i = 0; i < l1.size(); ++i) store_be<u64>(&raw[i * 8], l1[i]);
  const u64 clusters = clusters_of(raw.size());
  int error = commit();
  if (error != 0) return fail_errno(what, error);
  auto place = refcounts_.allocate(clusters);
  if (!place) return fail_errno(what, place.error());
  refcounts_.touched(*place, clusters);
  error = file_.write(*place << header_.cluster_bits, raw.data(), raw.size());
  if (error == 0) error = refcounts_.write_back();
  if (error == 0) error = file_.sync();
  std::array<u8, 24> fields{};  // size, encryption (none), entries, offset
  store_be<u64>(fields.data(), size);
  store_be<u32>(fields.data() + 12, static_cast<u32>(l1.size()));
  store_be<u64>(fields.data() + 16, *place << header_.cluster_bits);
  if (error == 0) error = file_.write(field::size, fields.data(), fields.size());
  if (error == 0) error = file_.sync();
  if (error != 0) return fail_errno(what, error);
  const u64 old_first = header_.l1_offset >> header_.cluster_bits, old_count = clusters_of(l1_.size() * 8);
  refcounts_.unreserve(old_first, old_count);
  refcounts_.free_later(old_first, old_count);
  refcounts_.reserve(*place, clusters);
  header_.l1_entries = static_cast<u32>(l1.size());
  header_.l1_offset = *place << header_.cluster_bits;
  header_.size = size;
  l1_ = std::move(l1);
  l1_dirty_.clear();
  changed_ = true;
  if (error = commit(); error != 0) return fail_errno(what, error);
  return {};
}

Result<> Qcow2Image::create_snapshot(const std::string& name) {
  const std::unique_lock lock(mutex_);
  const std::string what = fmt::format("cannot make snapshot '{}' of '{}'", name, file_.name());
  if (name.empty() || name.size() > 255 || std::ranges::any_of(name, [](unsigned char c) { return c < ' ' || c == 127; })) {
    return fail(what, "names have 1 to 255 characters and no control characters");
  }
  if (find_snapshot(name) != nullptr) return fail(what, "it exists");
  int error = writable();
  if (error == 0) error = commit();
  if (error == 0) error = set_incompatible(incompatible_dirty, true);
  if (error != 0) return fail_errno(what, error);

  const u64 clusters = clusters_of(std::max<u64>(l1_.size(), 1) * 8);
  auto place = refcounts_.allocate(clusters);
  if (!place) return fail_errno(what, place.error());
  refcounts_.touched(*place, clusters);
  error = change_tree(l1_, true);
  if (error != 0) {
    // Nothing is in the file yet: what memory says is forgotten.
    TRY(reload());
    TRY(restore_clean());
    return error == ERANGE ? fail(what, "its refcounts are too narrow for one more") : fail_errno(what, error);
  }
  error = refcounts_.write_back();
  if (error == 0) error = file_.sync();
  if (error == 0) error = refresh_copied();
  std::vector<u8> raw(std::max<u64>(l1_.size(), 1) * 8);
  for (u64 i = 0; i < l1_.size(); ++i) store_be<u64>(&raw[i * 8], l1_[i] & ~flag_copied);
  if (error == 0) error = file_.write(*place << header_.cluster_bits, raw.data(), raw.size());
  if (error == 0) error = commit();
  if (error != 0) return fail_errno(what, error);

  using namespace std::chrono;
  const auto now = duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();
  Snapshot s{.name = name, .l1_offset = *place << header_.cluster_bits, .l1_entries = static_cast<u32>(l1_.size()),
             .disk_size = header_.size, .seconds = static_cast<u64>(now / 1'000'000'000),
             .nanoseconds = static_cast<u32>(now % 1'000'000'000), .extra = std::vector<u8>(24)};
  store_be<u64>(&s.extra[8], s.disk_size);
  store_be<u64>(&s.extra[16], ~u64{0});  // no instruction count
  u64 highest = 0;
  for (const Snapshot& other : snapshots_) {
    u64 id = 0;
    if (std::from_chars(other.id.data(), other.id.data() + other.id.size(), id).ec == std::errc{}) highest = std::max(highest, id);
  }
  s.id = std::to_string(highest + 1);
  std::vector<Snapshot> all(snapshots_);
  all.push_back(std::move(s));
  TRY(write_snapshot_table(all));
  TRY(restore_clean());
  return reload();
}

Result<> Qcow2Image::apply_snapshot(const std::string& which) {
  const std::unique_lock lock(mutex_);
  const std::string what = fmt::format("cannot apply snapshot '{}' to '{}'", which, file_.name());
  const Snapshot* s = find_snapshot(which);
  if (s == nullptr) return fail(what, "there is none of that name");
  const u64 size = s->disk_size;
  if (header_.l1_entries_for(size) > s->l1_entries) return fail(what, "its L1 table is too short");
  TRY_ASSIGN(std::vector<u64> l1, read_l1(s->l1_offset, s->l1_entries));
  for (u64& entry : l1) entry &= ~flag_copied;
  int error = writable();
  if (error == 0) error = commit();
  if (error == 0) error = set_incompatible(incompatible_dirty, true);
  if (error != 0) return fail_errno(what, error);
  if (error = change_tree(l1, true); error != 0) {
    TRY(reload());
    TRY(restore_clean());
    return error == ERANGE ? fail(what, "its refcounts are too narrow for one more use") : fail_errno(what, error);
  }
  error = refcounts_.write_back();
  if (error == 0) error = file_.sync();
  if (error != 0) return fail_errno(what, error);
  const std::vector<u64> old = l1_;
  TRY(replace_l1(std::move(l1), size));
  size_ = round_up(size, sector_size);
  error = change_tree(old, false);
  if (error == 0) error = commit();
  if (error == 0) error = refresh_copied();
  if (error != 0) return fail_errno(what, error);
  TRY(restore_clean());
  return reload();
}

Result<> Qcow2Image::delete_snapshot(const std::string& which) {
  const std::unique_lock lock(mutex_);
  const std::string what = fmt::format("cannot delete snapshot '{}' of '{}'", which, file_.name());
  const Snapshot* found = find_snapshot(which);
  if (found == nullptr) return fail(what, "there is none of that name");
  const Snapshot s = *found;
  TRY_ASSIGN(const std::vector<u64> l1, read_l1(s.l1_offset, s.l1_entries));
  int error = writable();
  if (error == 0) error = commit();
  if (error == 0) error = set_incompatible(incompatible_dirty, true);
  if (error != 0) return fail_errno(what, error);
  std::vector<Snapshot> left(snapshots_);
  left.erase(left.begin() + (found - snapshots_.data()));
  TRY(write_snapshot_table(left));
  error = change_tree(l1, false);
  refcounts_.free_later(s.l1_offset >> header_.cluster_bits, clusters_of(std::max<u64>(s.l1_entries, 1) * 8));
  if (error == 0) error = commit();
  if (error == 0) error = refresh_copied();
  if (error != 0) return fail_errno(what, error);
  TRY(restore_clean());
  return reload();
}

}  // namespace nagaya::block::qcow2

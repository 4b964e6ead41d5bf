// Writing, zeroing, discarding and resizing.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "block/compression.hpp"
#include "block/qcow2_image.hpp"

namespace nagaya::block::qcow2 {

int Qcow2Image::writable() {
  if (file_.read_only()) return EROFS;
  return broken_ || closed_ ? EIO : 0;
}

std::expected<TablePtr, int> Qcow2Image::l2_for_change(u64 cluster) {
  const u64 index = cluster / header_.l2_entries();
  if (index >= l1_.size()) return std::unexpected(EIO);
  const u64 old = l1_[index] & offset_mask;
  if (old != 0 && (l1_[index] & flag_copied)) return l2_of(cluster);
  TablePtr from;
  if (old != 0) {
    auto table = l2_of(cluster);
    if (!table) return table;
    from = *table;
  }
  auto place = refcounts_.allocate(1);
  if (!place) return std::unexpected(place.error());
  refcounts_.touched(*place, 1);
  refcounts_.reserve(*place, 1);
  TablePtr table = l2_.fresh(*place << header_.cluster_bits);
  if (from) {
    table->bytes = from->bytes;
    refcounts_.unreserve(old >> header_.cluster_bits, 1);
    refcounts_.free_later(old >> header_.cluster_bits);
  }
  l1_[index] = *place << header_.cluster_bits | flag_copied;
  l1_dirty_.insert(index);
  changed_ = true;
  return table;
}

void Qcow2Image::release(const Entry& old) {
  if (old.kind == Kind::data || old.kind == Kind::zero_allocated) {
    refcounts_.free_later(old.host >> header_.cluster_bits);
  } else if (old.kind == Kind::compressed) {
    const u64 first = old.host >> header_.cluster_bits, last = (old.host + old.bytes - 1) >> header_.cluster_bits;
    refcounts_.free_later(first, last - first + 1);
    packed_at_ = 0;  // its last cluster may be the one that is being filled
  }
}

// What [offset, offset+length), inside one cluster, reads as at present; behind the disk's end: zeroes.
int Qcow2Image::pad(std::vector<u8>& buffer, u64 offset, u64 length, const Entry& old) {
  buffer.assign(length, 0);
  if (length == 0 || reads_zero(old)) return 0;
  const u64 end = size();
  const u64 there = offset < end ? std::min(length, end - offset) : 0;
  return there == 0 ? 0 : read_run({old, there}, offset, OneBuffer(buffer.data(), there));
}

// A zero cluster that still has its place in the file: the place is used again, filled up with zeroes.
std::expected<u64, int> Qcow2Image::write_over_zero(const Entry& entry, u64 offset, Iov iov, u64 skip, u64 length) {
  const u64 in_cluster = offset & (cluster_size() - 1);
  const u64 count = std::min(length, cluster_size() - in_cluster);
  auto table = l2_for_change(offset >> header_.cluster_bits);
  if (!table) return std::unexpected(table.error());
  std::vector<u8> cluster(cluster_size());
  iov_gather(iov, skip, std::span(cluster).subspan(in_cluster, count));
  if (const int error = file_.write(entry.host, cluster.data(), cluster.size()); error != 0) return std::unexpected(error);
  (*table)->set_entry((offset >> header_.cluster_bits) % header_.l2_entries(), entry.host | flag_copied);
  return count;
}

// Writes as much of the range as one run of new clusters takes; gives the bytes written.
std::expected<u64, int> Qcow2Image::write_new(u64 offset, Iov iov, u64 skip, u64 length) {
  const u64 size_of = cluster_size(), bits = header_.cluster_bits, per_table = header_.l2_entries();
  const u64 first = offset >> bits, in_cluster = offset & (size_of - 1);
  auto old = lookup(first);
  if (!old) return std::unexpected(old.error());
  if (old->copied && (old->kind == Kind::data || old->kind == Kind::zero_allocated)) {
    if (refcounts_.is_reserved(old->host >> bits)) {
      mark_corrupt("a data cluster lies on a table");
      return std::unexpected(EIO);
    }
    if (old->kind == Kind::zero_allocated) return write_over_zero(*old, offset, iov, skip, length);
    const u64 count = std::min(length, size_of - in_cluster);  // another writer was faster
    const int error = file_.write(old->host + in_cluster, iov_slice(iov, skip, count));
    return error == 0 ? std::expected<u64, int>(count) : std::unexpected(error);
  }
  auto table = l2_for_change(first);
  if (!table) return std::unexpected(table.error());
  const u64 wanted = std::min(divide_up(in_cluster + length, size_of), per_table - first % per_table);
  u64 clusters = 1;
  while (clusters < wanted) {
    const auto next = decode((*table)->entry((first + clusters) % per_table));
    if (!next || (next->copied && next->kind != Kind::compressed)) break;
    ++clusters;
  }
  auto place = refcounts_.allocate_up_to(clusters);
  if (!place) return std::unexpected(place.error());
  clusters = place->second;
  const bool virgin = place->first >= refcounts_.virgin_from();
  refcounts_.touched(place->first, clusters);

  const u64 count = std::min(length, (clusters << bits) - in_cluster);
  const u64 tail = (clusters << bits) - in_cluster - count;
  auto last = clusters == 1 ? old : decode((*table)->entry((first + clusters - 1) % per_table));
  std::vector<u8> before, behind;
  int error = last ? 0 : last.error();
  if (error == 0 && !(virgin && reads_zero(*old))) error = pad(before, first << bits, in_cluster, *old);
  if (error == 0 && !(virgin && reads_zero(*last))) error = pad(behind, offset + count, tail, *last);
  if (error == 0) {
    std::vector<iovec> all = iov_slice(iov, skip, count);
    if (!before.empty()) all.insert(all.begin(), {before.data(), before.size()});
    if (!behind.empty()) all.push_back({behind.data(), behind.size()});
    error = file_.write((place->first << bits) + in_cluster - before.size(), all);
  }
  if (error != 0) {
    refcounts_.undo(place->first, clusters);
    return std::unexpected(error);
  }
  for (u64 i = 0; i < clusters; ++i) {
    const u64 slot = (first + i) % per_table;
    if (auto was = decode((*table)->entry(slot))) release(*was);
    (*table)->set_entry(slot, (place->first + i) << bits | flag_copied);
  }
  return count;
}

int Qcow2Image::write(u64 offset, Iov iov) {
  const u64 length = iov_length(iov);
  for (u64 done = 0; done < length;) {
    {
      const std::shared_lock lock(mutex_);
      if (const int error = writable(); error != 0) return error;
      auto run = run_at(offset + done, length - done);
      if (!run) return run.error();
      const u64 host = run->entry.host + ((offset + done) & (cluster_size() - 1));
      if (run->entry.kind == Kind::data && run->entry.copied && !refcounts_.overlaps_reserved(host, run->length)) {
        const int error = done == 0 && run->length == length ? file_.write(host, iov)
                                                             : file_.write(host, iov_slice(iov, done, run->length));
        if (error != 0) return error;
        done += run->length;
        continue;
      }
    }
    const std::unique_lock lock(mutex_);
    if (const int error = writable(); error != 0) return error;
    auto count = write_new(offset + done, iov, done, length - done);
    if (!count) return count.error();
    done += *count;
    if (const int error = after_change(); error != 0) return error;
  }
  return 0;
}

int Qcow2Image::write_compressed(u64 offset, std::span<const u8> cluster) {
  auto packed = compress(header_.compression, cluster);
  if (!packed || packed->size() >= cluster_size()) return write(offset, OneBuffer(cluster.data(), cluster.size()));
  const std::unique_lock lock(mutex_);
  if (const int error = writable(); error != 0) return error;
  const u64 bits = header_.cluster_bits, size_of = cluster_size(), number = offset >> bits;
  auto table = l2_for_change(number);
  if (!table) return table.error();
  auto old = decode((*table)->entry(number % header_.l2_entries()));
  if (!old) return old.error();

  // Behind the last compressed cluster if it fits there, alone or together with the next cluster.
  u64 at = packed_at_;
  const u64 left = at == 0 ? 0 : size_of - (at & (size_of - 1));
  bool next = false;
  if (at != 0 && packed->size() > left) {
    auto got = refcounts_.allocate_at((at >> bits) + 1);
    if (!got) return got.error();
    next = *got;
    if (next) refcounts_.touched((at >> bits) + 1, 1);
    if (!next) at = 0;
  }
  int error = at != 0 ? refcounts_.increment(at >> bits) : 0;
  if (error == ERANGE) {  // as often in use as a refcount can say
    if (next) refcounts_.undo((at >> bits) + 1, 1);
    next = false;
    at = error = 0;
  }
  if (error != 0) return error;
  bool fresh = false;
  if (at == 0) {
    auto place = refcounts_.allocate(1);
    if (!place) return place.error();
    refcounts_.touched(*place, 1);
    at = *place << bits;
    fresh = true;
  }
  error = file_.write(at, packed->data(), packed->size());
  if (error != 0) {
    if (next) refcounts_.undo((at >> bits) + 1, 1);
    if (fresh) {
      refcounts_.undo(at >> bits, 1);
    } else {
      (void)refcounts_.decrement(at >> bits);
    }
    return error;
  }
  release(*old);
  const u64 end = at + packed->size(), sectors = ((end - 1) >> 9) - (at >> 9);
  (*table)->set_entry(number % header_.l2_entries(), flag_compressed | sectors << (62 - (bits - 8)) | at);
  packed_at_ = (end & (size_of - 1)) == 0 ? 0 : end;
  return after_change();
}

// Makes up to `count` clusters of one L2 table read as zeroes; gives how many were dealt with. `keep`: their places
// stay taken. `discarding`: clusters that cannot be made to are left as they are, instead of ENOTSUP.
std::expected<u64, int> Qcow2Image::zero_clusters(u64 first, u64 count, bool keep, bool discarding) {
  const u64 per_table = header_.l2_entries();
  count = std::min(count, per_table - first % per_table);
  if (!backing_ && (l1_[first / per_table] & offset_mask) == 0) return count;
  const bool flags = header_.version >= 3;
  if (!flags && backing_) return discarding ? std::expected<u64, int>(count) : std::unexpected(ENOTSUP);
  auto table = l2_for_change(first);
  if (!table) return std::unexpected(table.error());
  for (u64 i = 0; i < count; ++i) {
    const u64 slot = (first + i) % per_table;
    auto old = decode((*table)->entry(slot));
    if (!old) return std::unexpected(old.error());
    if (keep && flags && old->copied && old->kind == Kind::data) {
      (*table)->set_entry(slot, old->host | flag_copied | flag_zero);
      continue;
    }
    if (old->kind == Kind::zero || (keep && old->kind == Kind::zero_allocated)) continue;
    if (old->kind == Kind::absent && !backing_) continue;
    release(*old);
    (*table)->set_entry(slot, backing_ ? flag_zero : 0);
  }
  return count;
}

int Qcow2Image::write_zeroes(u64 offset, u64 length, bool may_unmap) {
  const u64 size_of = cluster_size(), end = offset + length, whole_end = end == size() ? round_up(end, size_of) : end;
  static const std::vector<u8> zeroes(u64{1} << 21);
  for (u64 at = offset; at < end;) {
    const u64 in_cluster = at & (size_of - 1);
    if (in_cluster == 0 && whole_end - at >= size_of) {
      const std::unique_lock lock(mutex_);
      if (const int error = writable(); error != 0) return error;
      auto count = zero_clusters(at >> header_.cluster_bits, (whole_end - at) >> header_.cluster_bits, !may_unmap, false);
      if (!count && count.error() != ENOTSUP) return count.error();
      if (count) {
        at += *count << header_.cluster_bits;
        if (const int error = after_change(); error != 0) return error;
        continue;
      }
    }
    const u64 count = std::min(end - at, size_of - in_cluster);
    bool zero;
    {
      const std::shared_lock lock(mutex_);
      auto entry = lookup(at >> header_.cluster_bits);
      if (!entry) return entry.error();
      zero = reads_zero(*entry);
    }
    if (!zero) {
      if (const int error = write(at, OneBuffer(zeroes.data(), count)); error != 0) return error;
    }
    at += count;
  }
  return 0;
}

int Qcow2Image::discard(u64 offset, u64 length) {
  const u64 size_of = cluster_size();
  u64 first = divide_up(offset, size_of);
  const u64 end = offset + length == size() ? divide_up(size(), size_of) : (offset + length) / size_of;
  while (first < end) {
    const std::unique_lock lock(mutex_);
    if (const int error = writable(); error != 0) return error;
    auto count = zero_clusters(first, end - first, false, true);
    if (!count) return count.error();
    first += *count;
    if (const int error = after_change(); error != 0) return error;
  }
  return 0;
}

Result<> Qcow2Image::resize(u64 size) {
  const std::string what = fmt::format("cannot resize '{}' to {} bytes", file_.name(), size);
  if (file_.read_only()) return fail(what, "it is read-only");
  if (size % sector_size != 0) return fail(what, "sizes are multiples of 512 bytes");
  if (header_.l1_entries_for(size) * 8 > max_l1_bytes || size >> 62) {
    return fail(what, "too large for its cluster size");
  }
  if (header_.version < 3 && !snapshots_.empty()) return fail(what, "a version 2 image with snapshots keeps its size");
  const u64 old = this->size();
  if (size < old) {
    // What is cut off must not come back when the disk grows again.
    if (const int error = write_zeroes(size, old - size, true); error != 0) return fail_errno(what, error);
  }
  {
    const std::unique_lock lock(mutex_);
    if (const int error = writable(); error != 0) return fail_errno(what, error);
    std::vector<u64> l1(l1_);
    l1.resize(std::max<u64>(l1.size(), header_.l1_entries_for(size)));
    if (l1.size() != l1_.size()) {
      TRY(replace_l1(std::move(l1), size));
    } else {
      if (const int error = commit(); error != 0) return fail_errno(what, error);
      std::array<u8, 8> raw{};
      store_be<u64>(raw.data(), size);
      int error = file_.write(field::size, raw.data(), raw.size());
      if (error == 0) error = file_.sync();
      if (error != 0) return fail_errno(what, error);
    }
    header_.size = size;
    size_ = size;
  }
  // A longer backing file must not shine through where the disk was not before.
  if (size > old && backing_ && backing_->size() > old) {
    const u64 end = std::min(size, backing_->size());
    if (const int error = write_zeroes(old, end - old, true); error != 0) return fail_errno(what, error);
    if (const int error = flush(); error != 0) return fail_errno(what, error);
  }
  return {};
}

}  // namespace nagaya::block::qcow2

// qcow2 images, read and written. Format: QEMU docs/interop/qcow2.txt, versions 2 and 3.
#pragma once
#include <atomic>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "block/image.hpp"
#include "block/qcow2_refcounts.hpp"

namespace nagaya::block::qcow2 {

struct Snapshot {
  std::string id, name;
  u64 l1_offset = 0;
  u32 l1_entries = 0;
  u64 disk_size = 0;  ///< bytes
  u64 seconds = 0;    ///< of creation, since 1970
  u32 nanoseconds = 0;
  u64 vm_state_size = 0;
  u64 vm_clock = 0;        ///< nanoseconds
  std::vector<u8> extra{};  ///< the entry's extra data as read, kept when the table is written again
};

/// What a check found. A leak wastes space; a corruption can lose data.
struct CheckReport {
  u64 leaks = 0, corruptions = 0;
  u64 leaks_fixed = 0, corruptions_fixed = 0;
  u64 allocated_clusters = 0, compressed_clusters = 0, image_end = 0;  ///< image_end: bytes
  std::vector<std::string> messages;                                   ///< the first hundred findings
  [[nodiscard]] bool clean() const { return leaks == leaks_fixed && corruptions == corruptions_fixed; }
};

class Qcow2Image final : public Image {
 public:
  struct Options {
    bool discard = true;     ///< give space of freed clusters back to the host
    bool for_check = false;  ///< a dirty image is not mended, a corrupt one may be written: check() comes next
  };
  /// `backing` is the image that the header names, or null when it names none.
  static Result<std::unique_ptr<Qcow2Image>> open(File file, std::unique_ptr<Image> backing, Options options);
  ~Qcow2Image() override;

  [[nodiscard]] u64 size() const override { return size_.load(std::memory_order_relaxed); }
  [[nodiscard]] Capabilities capabilities() const override;
  [[nodiscard]] u64 host_space() const override { return file_.host_space(); }
  [[nodiscard]] int read(u64 offset, Iov iov) override;
  [[nodiscard]] int read_now(u64 offset, Iov iov) override;
  [[nodiscard]] int write(u64 offset, Iov iov) override;
  [[nodiscard]] int write_zeroes(u64 offset, u64 length, bool may_unmap) override;
  [[nodiscard]] int discard(u64 offset, u64 length) override;
  [[nodiscard]] int flush() override;
  Result<> resize(u64 size) override;
  Result<Extent> map(u64 offset, u64 length) override;
  [[nodiscard]] Image* backing() override { return backing_.get(); }
  Result<> close() override;

  /// Writes one whole cluster, compressed if that makes it smaller; `offset` is a multiple of the cluster size.
  [[nodiscard]] int write_compressed(u64 offset, std::span<const u8> cluster);
  [[nodiscard]] const Header& header() const { return header_; }
  [[nodiscard]] const File& file() const { return file_; }

  [[nodiscard]] const std::vector<Snapshot>& snapshots() const { return snapshots_; }
  Result<> create_snapshot(const std::string& name);
  /// `which` is a name or an id; names come first.
  Result<> apply_snapshot(const std::string& which);
  Result<> delete_snapshot(const std::string& which);
  /// Compares refcounts and flags with what the tables say. `repair` rebuilds the refcounts and drops what points
  /// nowhere; the data of intact clusters stays.
  Result<CheckReport> check(bool repair);

 private:
  enum class Kind : u8 { absent, zero, zero_allocated, data, compressed };
  struct Entry {
    Kind kind = Kind::absent;
    bool copied = false;  // refcount 1: may be written in place
    u64 host = 0;         // file offset of the cluster, or of the compressed bytes
    u64 bytes = 0;        // of compressed data, at most
  };
  struct RunOf {
    Entry entry;
    u64 length = 0;
  };

  Qcow2Image(File file, Header header, std::unique_ptr<Image> backing, Options options);
  Result<> load();
  Result<> load_snapshots();
  Result<> reload();  // everything that is cached, from the file

  // Lookup; any lock held.
  [[nodiscard]] std::expected<Entry, int> decode(u64 raw) const;
  std::expected<TablePtr, int> l2_of(u64 cluster);
  std::expected<Entry, int> lookup(u64 cluster);
  std::expected<RunOf, int> run_at(u64 offset, u64 length);
  [[nodiscard]] int read_run(const RunOf& run, u64 offset, Iov iov);
  [[nodiscard]] int read_backing(u64 offset, Iov iov);
  [[nodiscard]] int read_run_now(const RunOf& run, u64 offset, Iov iov);
  [[nodiscard]] int read_compressed(const Entry& entry, std::span<u8> out);

  // Changes; the lock is held alone.
  [[nodiscard]] int writable();
  std::expected<TablePtr, int> l2_for_change(u64 cluster);
  std::expected<u64, int> write_new(u64 offset, Iov iov, u64 skip, u64 length);
  std::expected<u64, int> write_over_zero(const Entry& entry, u64 offset, Iov iov, u64 skip, u64 length);
  [[nodiscard]] int pad(std::vector<u8>& buffer, u64 offset, u64 length, const Entry& old);
  std::expected<u64, int> zero_clusters(u64 first, u64 count, bool keep, bool discarding);
  void release(const Entry& old);
  [[nodiscard]] int after_change();
  [[nodiscard]] int commit();
  [[nodiscard]] int write_l1();
  [[nodiscard]] int set_incompatible(u64 bits, bool on);
  void mark_corrupt(const char* why);
  [[nodiscard]] bool reads_zero(const Entry& entry) const;

  // Snapshots.
  const Snapshot* find_snapshot(const std::string& which) const;
  Result<std::vector<u64>> read_l1(u64 offset, u64 entries) const;
  [[nodiscard]] int change_tree(const std::vector<u64>& l1, bool add);
  [[nodiscard]] int refresh_copied();
  Result<> write_snapshot_table(const std::vector<Snapshot>& snapshots);
  Result<> replace_l1(std::vector<u64> l1, u64 size);
  Result<> restore_clean();
  [[nodiscard]] u64 snapshot_table_bytes() const;

  // Check.
  struct Census;
  [[nodiscard]] int count_tree(Census& census, std::vector<u64>& l1, bool active, bool repair);
  [[nodiscard]] int check_copied(Census& census);
  Result<> rebuild_refcounts(Census& census);

  [[nodiscard]] u64 cluster_size() const { return header_.cluster_size(); }
  [[nodiscard]] u64 clusters_of(u64 bytes) const { return divide_up(bytes, cluster_size()); }

  File file_;
  Header header_;
  std::unique_ptr<Image> backing_;
  Options options_;
  std::atomic<u64> size_;
  // Shared: reads, and writes into clusters that are ours. Alone: everything that changes a table or a refcount.
  std::shared_mutex mutex_;
  std::vector<u64> l1_;
  std::set<u64> l1_dirty_;  // indexes
  TableCache l2_;
  Refcounts refcounts_;
  std::vector<Snapshot> snapshots_;
  std::atomic<bool> changed_ = false;  // something waits for commit()
  std::atomic<bool> broken_ = false;
  bool closed_ = false;
  u64 packed_at_ = 0;  // where the next compressed cluster may begin; 0: in a new cluster
};

}  // namespace nagaya::block::qcow2

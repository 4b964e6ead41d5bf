#include "image/ext4.hpp"

extern "C" {
#include <et/com_err.h>
}
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

namespace nagaya::image {
namespace {

constexpr u32 block_size = 4096;
constexpr ext2_ino_t lost_and_found = 11;  // where mke2fs makes it
constexpr u32 most_links = 65000;          // EXT4_LINK_MAX; with dir_nlink, a folder of more says 1

u32 type_bits(NodeType type) {
  switch (type) {
    case NodeType::directory: return S_IFDIR;
    case NodeType::file: return S_IFREG;
    case NodeType::symlink: return S_IFLNK;
    case NodeType::char_device: return S_IFCHR;
    case NodeType::block_device: return S_IFBLK;
    case NodeType::fifo: return S_IFIFO;
    case NodeType::socket: return S_IFSOCK;
  }
  return S_IFREG;
}

int entry_type(NodeType type) {
  switch (type) {
    case NodeType::directory: return EXT2_FT_DIR;
    case NodeType::file: return EXT2_FT_REG_FILE;
    case NodeType::symlink: return EXT2_FT_SYMLINK;
    case NodeType::char_device: return EXT2_FT_CHRDEV;
    case NodeType::block_device: return EXT2_FT_BLKDEV;
    case NodeType::fifo: return EXT2_FT_FIFO;
    case NodeType::socket: return EXT2_FT_SOCK;
  }
  return EXT2_FT_UNKNOWN;
}

/// Result of a library call about `path`.
Result<> checked(errcode_t code, const std::string& path) {
  if (code == 0) return {};
  std::string hint = code == EXT2_ET_BLOCK_ALLOC_FAIL || code == EXT2_ET_INODE_ALLOC_FAIL ? "make the disk larger with --size" : "";
  return fail(fmt::format("cannot put '/{}' on the disk", path), ::error_message(code), std::move(hint));
}

class Writer {
 public:
  Writer(const Layers& layers, const Tree& tree, const Work& work) : layers_(layers), tree_(tree), work_(work) {}
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    if (fs_ != nullptr) ::ext2fs_free(fs_);
  }

  Result<> write(const std::string& path) {
    if (const errcode_t code = ::ext2fs_open(path.c_str(), EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs_); code != 0) {
      fs_ = nullptr;
      return fail(fmt::format("cannot open disk '{}'", path), ::error_message(code));
    }
    TRY(checked(::ext2fs_read_bitmaps(fs_), ""));
    TRY(make_inodes());
    TRY(fill_folders());
    TRY(fill_files());
    const errcode_t code = ::ext2fs_close_free(&fs_);
    fs_ = nullptr;
    return checked(code, "");
  }

 private:
  /// Every node gets an inode with all but its content.
  Result<> make_inodes() {
    Result<> done;
    std::map<const Node*, u32> names;
    tree_.walk([&](const std::string&, const NodePtr& node) { ++names[node.get()]; });
    std::map<const Node*, bool> made;
    tree_.walk([&](const std::string& path, const NodePtr& node) {
      if (done && !std::exchange(made[node.get()], true)) done = make_inode(path, *node, names[node.get()]);
    });
    return done;
  }

  Result<> make_inode(const std::string& path, Node& node, u32 names) {
    TRY(work_.check());
    ext2_ino_t ino = 0;
    if (path.empty()) {
      ino = EXT2_ROOT_INO;
      // Its one block comes back with all entries in fill_folders().
      TRY(checked(::ext2fs_punch(fs_, ino, nullptr, nullptr, 0, ~0ULL), path));
    } else if (path == "lost+found" && node.type == NodeType::directory) {
      ino = lost_and_found;
      if (!node.children.empty()) return fail("cannot put '/lost+found' on the disk", "it has files in it");
      node.number = ino;
      return {};
    } else {
      TRY(checked(::ext2fs_new_inode(fs_, EXT2_ROOT_INO, static_cast<int>(type_bits(node.type)), nullptr, &ino), path));
      if (node.type == NodeType::symlink) {
        // It makes the inode itself; without a name it puts it nowhere.
        TRY(checked(::ext2fs_symlink(fs_, EXT2_ROOT_INO, ino, nullptr, node.target.c_str()), path));
      } else {
        TRY(new_inode(path, node, ino));
      }
    }
    node.number = ino;
    TRY(set_metadata(path, node, ino, names));
    return set_attributes(path, node, ino);
  }

  Result<> new_inode(const std::string& path, const Node& node, ext2_ino_t ino) {
    ext2_inode_large inode{};
    inode.i_mode = static_cast<u16>(type_bits(node.type) | node.mode);
    auto* base = reinterpret_cast<ext2_inode*>(&inode);
    if (node.type == NodeType::char_device || node.type == NodeType::block_device) {
      // As the kernel encodes it: the old form where it fits, else the new one in the second word.
      if (node.major < 256 && node.minor < 256) {
        inode.i_block[0] = node.major << 8 | node.minor;
      } else {
        inode.i_block[1] = (node.minor & 0xff) | node.major << 8 | (node.minor & ~0xffU) << 12;
      }
    } else if (node.type == NodeType::file || node.type == NodeType::directory) {
      ext2_extent_handle_t handle = nullptr;
      inode.i_flags = EXT4_EXTENTS_FL;
      TRY(checked(::ext2fs_extent_open2(fs_, ino, base, &handle), path));
      ::ext2fs_extent_free(handle);
    }
    TRY(checked(::ext2fs_write_new_inode(fs_, ino, base), path));
    ::ext2fs_inode_alloc_stats2(fs_, ino, +1, node.type == NodeType::directory);
    return {};
  }

  Result<> set_metadata(const std::string& path, const Node& node, ext2_ino_t ino, u32 names) {
    ext2_inode_large inode{};
    auto* base = reinterpret_cast<ext2_inode*>(&inode);
    TRY(checked(::ext2fs_read_inode_full(fs_, ino, base, sizeof inode), path));
    // Symbolic links have all permissions, whatever an archive says.
    inode.i_mode = static_cast<u16>(type_bits(node.type) | (node.type == NodeType::symlink ? 0777 : node.mode));
    inode.i_uid = static_cast<u16>(node.uid);
    inode.osd2.linux2.l_i_uid_high = static_cast<u16>(node.uid >> 16);
    inode.i_gid = static_cast<u16>(node.gid);
    inode.osd2.linux2.l_i_gid_high = static_cast<u16>(node.gid >> 16);
    if (names > most_links) return fail(fmt::format("cannot put '/{}' on the disk", path), "too many hard links");
    inode.i_links_count = static_cast<u16>(names);
    if (node.type == NodeType::directory) {
      u64 folders = path.empty() && !node.children.contains("lost+found") ? 1 : 0;
      for (const auto& [name, child] : node.children) folders += child.node->type == NodeType::directory;
      inode.i_links_count = static_cast<u16>(folders + 2 > most_links ? 1 : folders + 2);
    }
    // 34 bits of seconds since 1970, from -2^31 on (ext4, "Inode Timestamps").
    const i64 time = std::clamp<i64>(node.mtime, -(i64{1} << 31), (i64{1} << 31) - 1 + (i64{3} << 32));
    const auto low = static_cast<u32>(time);
    const auto extra = static_cast<u32>((time - static_cast<i32>(low)) >> 32) & 3;
    inode.i_atime = inode.i_ctime = inode.i_mtime = low;
    inode.i_atime_extra = inode.i_ctime_extra = inode.i_mtime_extra = extra;
    return checked(::ext2fs_write_inode_full(fs_, ino, base, sizeof inode), path);
  }

  Result<> set_attributes(const std::string& path, const Node& node, ext2_ino_t ino) {
    if (node.xattrs.empty()) return {};
    ext2_xattr_handle* handle = nullptr;
    TRY(checked(::ext2fs_xattrs_open(fs_, ino, &handle), path));
    errcode_t code = ::ext2fs_xattrs_read(handle);
    for (const auto& [name, value] : node.xattrs) {
      if (code == 0) code = ::ext2fs_xattr_set(handle, name.c_str(), value.data(), value.size());
    }
    const errcode_t closed = ::ext2fs_xattrs_close(&handle);
    TRY(checked(code, path));
    return checked(closed, path);
  }

  Result<> fill_folders() {
    Result<> done;
    std::vector<u64> parents{EXT2_ROOT_INO};
    tree_.walk([&](const std::string& path, const NodePtr& node) {
      if (!done || node->type != NodeType::directory || node->number == lost_and_found) return;
      NodePtr parent = tree_.root();
      if (const std::size_t slash = path.rfind('/'); slash != std::string::npos) parent = folder_at(path.substr(0, slash));
      done = fill_folder(path, *node, static_cast<ext2_ino_t>(parent->number));
    });
    return done;
  }

  /// The folder of that very path: no links are followed.
  NodePtr folder_at(const std::string& path) const {
    NodePtr node = tree_.root();
    for (std::size_t start = 0; start < path.size();) {
      const std::size_t end = std::min(path.find('/', start), path.size());
      node = node->children.find(path.substr(start, end - start))->second.node;
      start = end + 1;
    }
    return node;
  }

  /// Blocks of directory entries, one after the other; the last entry of each reaches to the block's end.
  Result<> fill_folder(const std::string& path, const Node& node, ext2_ino_t parent) {
    TRY(work_.check());
    const auto ino = static_cast<ext2_ino_t>(node.number);
    const bool sums = ::ext2fs_has_feature_metadata_csum(fs_->super) != 0;
    const u32 room = block_size - (sums ? sizeof(ext2_dir_entry_tail) : 0);
    std::vector<char> block(block_size);
    u32 at = 0, last = 0;
    blk64_t count = 0;
    const auto flush = [&]() -> Result<> {
      auto* end = reinterpret_cast<ext2_dir_entry*>(block.data() + last);
      TRY(checked(::ext2fs_set_rec_len(fs_, room - last, end), path));
      if (sums) ::ext2fs_initialize_dirent_tail(fs_, reinterpret_cast<ext2_dir_entry_tail*>(block.data() + room));
      blk64_t physical = 0;
      TRY(checked(::ext2fs_bmap2(fs_, ino, nullptr, nullptr, BMAP_ALLOC, count, nullptr, &physical), path));
      TRY(checked(::ext2fs_write_dir_block4(fs_, physical, block.data(), 0, ino), path));
      ++count;
      std::ranges::fill(block, 0);
      at = last = 0;
      return {};
    };
    const auto put = [&](std::string_view name, ext2_ino_t target, int type) -> Result<> {
      const auto length = static_cast<u32>((8 + name.size() + 3) & ~std::size_t{3});
      if (at + length > room) TRY(flush());
      auto* entry = reinterpret_cast<ext2_dir_entry*>(block.data() + at);
      entry->inode = target;
      TRY(checked(::ext2fs_set_rec_len(fs_, length, entry), path));
      ::ext2fs_dirent_set_name_len(entry, static_cast<int>(name.size()));
      ::ext2fs_dirent_set_file_type(entry, type);
      std::memcpy(entry->name, name.data(), name.size());
      last = at;
      at += length;
      return {};
    };
    TRY(put(".", ino, EXT2_FT_DIR));
    TRY(put("..", parent, EXT2_FT_DIR));
    if (path.empty()) TRY(put("lost+found", lost_and_found, EXT2_FT_DIR));
    for (const auto& [name, child] : node.children) {
      if (child.node->number == lost_and_found) continue;
      TRY(put(name, static_cast<ext2_ino_t>(child.node->number), entry_type(child.node->type)));
    }
    TRY(flush());
    return set_size(path, ino, count * block_size);
  }

  Result<> set_size(const std::string& path, ext2_ino_t ino, u64 size) {
    ext2_inode inode{};
    TRY(checked(::ext2fs_read_inode(fs_, ino, &inode), path));
    TRY(checked(::ext2fs_inode_size_set(fs_, &inode, static_cast<ext2_off64_t>(size)), path));
    return checked(::ext2fs_write_inode(fs_, ino, &inode), path);
  }

  Result<> fill_files() {
    ext2_file_t file = nullptr;
    const Node* open = nullptr;
    const auto close = [&]() -> Result<> {
      if (file == nullptr) return {};
      const errcode_t code = ::ext2fs_file_close(file);
      file = nullptr;
      TRY(checked(code, ""));
      return set_size("", static_cast<ext2_ino_t>(open->number), open->size);
    };
    const auto done = read_content(
        layers_, tree_, [](const Node&) { return true; },
        [&](const NodePtr& node, u64 offset, std::span<const u8> data) -> Result<> {
          TRY(work_.check());
          if (node.get() != open) {
            TRY(close());
            open = node.get();
            TRY(checked(::ext2fs_file_open(fs_, static_cast<ext2_ino_t>(node->number), EXT2_FILE_WRITE, &file), ""));
          }
          TRY(checked(::ext2fs_file_llseek(file, offset, EXT2_SEEK_SET, nullptr), ""));
          while (!data.empty()) {
            unsigned written = 0;
            TRY(checked(::ext2fs_file_write(file, data.data(), static_cast<unsigned>(std::min<std::size_t>(data.size(), 16 * MiB)), &written), ""));
            data = data.subspan(written);
          }
          return {};
        });
    if (!done) {
      if (file != nullptr) ::ext2fs_file_close(file);
      return done;
    }
    return close();
  }

  const Layers& layers_;
  const Tree& tree_;
  const Work& work_;
  ext2_filsys fs_ = nullptr;
};

struct Needs {
  u64 inodes = 0, bytes = 0;
};

Needs needs_of(const Tree& tree) {
  Needs out;
  std::map<const Node*, bool> seen;
  tree.walk([&](const std::string&, const NodePtr& node) {
    if (std::exchange(seen[node.get()], true)) return;
    ++out.inodes;
    out.bytes += (node->size + block_size - 1) / block_size * block_size;
    if (node->type == NodeType::directory) out.bytes += (node->children.size() / 16 + 1) * block_size;
    if (node->type == NodeType::symlink || !node->xattrs.empty()) out.bytes += block_size;
  });
  return out;
}

}  // namespace

Result<u64> make_ext4(const Layers& layers, const Tree& tree, const Ext4Options& options, const Work& work) {
  const Needs needs = needs_of(tree);
  const u64 inodes = needs.inodes + needs.inodes / 4 + 4096;
  // Content, inode tables, journal, and a quarter more to live in.
  const u64 least = needs.bytes + needs.bytes / 4 + inodes * 256 + 96 * MiB;
  const u64 size = (std::max({least, options.size, u64{256 * MiB}}) + MiB - 1) / MiB * MiB;
  TRY_ASSIGN(const host::Fd file, host::Fd::open(options.path, O_RDWR | O_CREAT | O_EXCL, 0600));
  if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0) return fail_errno(fmt::format("cannot make '{}'", options.path));
  ToolRun make{.name = "mke2fs", .package = "e2fsprogs", .args = {}, .scratch = options.scratch};
  // Inode tables and journal are zeroes in a new file: nothing is left to be cleared by a guest at its first boot.
  make.args = {"-q", "-F", "-t", "ext4", "-b", std::to_string(block_size), "-I", "256", "-m", "1", "-L", options.label,
               "-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,nodiscard"};
  // One inode for 16 KiB is the usual; small disks of many files need more.
  if (inodes > size / (16 * KiB)) make.args.insert(make.args.end(), {"-N", std::to_string(inodes)});
  make.args.push_back(options.path);
  TRY(run_tool(make, work));
  Writer writer(layers, tree, work);
  TRY(writer.write(options.path));
  return size;
}

}  // namespace nagaya::image

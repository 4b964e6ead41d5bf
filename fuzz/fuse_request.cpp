// Requests to the FUSE server: a sequence of them, each with a length before it, over a small folder. Whatever they say,
// the server answers within the room it was given, and nothing beside the folder changes.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "fuse/protocol.hpp"
#include "fuse/server.hpp"
#include "fuzz.hpp"

namespace {

using namespace nagaya;

constexpr std::size_t room = 4096, guard = 64;

struct Place {
  Place() {
    // Requests that sync take their time on a disk.
    const std::filesystem::path memory = "/dev/shm";
    const bool there = ::access(memory.c_str(), W_OK) == 0;
    std::string name = ((there ? memory : std::filesystem::temp_directory_path()) / "nagaya-fuzz-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    base = name;
    std::ofstream(base / "outside") << "secret";
    fill();
  }
  ~Place() {
    std::error_code ignored;
    std::filesystem::remove_all(base, ignored);
  }
  void fill() const {
    std::error_code ignored;
    std::filesystem::remove_all(base / "share", ignored);
    std::filesystem::create_directories(base / "share/dir");
    std::ofstream(base / "share/file") << "content";
    std::filesystem::create_symlink("../outside", base / "share/link");
  }
  void check() const {
    std::ifstream in(base / "outside");
    std::string text;
    in >> text;
    const auto entries = std::distance(std::filesystem::directory_iterator(base), {});
    if (text != "secret" || entries != 2) std::abort();
  }
  std::filesystem::path base;
};

template <class T>
void append(std::vector<u8>& out, const T& value) {
  const auto* bytes = reinterpret_cast<const u8*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

void request(std::vector<u8>& out, u32 opcode, u64 node, const std::vector<u8>& arguments) {
  append(out, static_cast<u16>(sizeof(fuse_in_header) + arguments.size()));
  fuse_in_header head{};
  head.len = static_cast<u32>(sizeof head + arguments.size());
  head.opcode = opcode;
  head.nodeid = node;
  append(out, head);
  out.insert(out.end(), arguments.begin(), arguments.end());
}

template <class T>
std::vector<u8> with(const T& arguments, const std::string& text = {}, const std::string& second = {}) {
  std::vector<u8> out;
  append(out, arguments);
  for (const std::string& part : {text, second}) {
    if (part.empty()) continue;
    out.insert(out.end(), part.begin(), part.end());
    out.push_back(0);
  }
  return out;
}

std::vector<u8> names(const std::string& first, const std::string& second = {}) {
  std::vector<u8> out = with(u8{0}, first, second);
  out.erase(out.begin());
  return out;
}

/// A session with a little of everything: node 2 is the file, handle 1 is open on it, handle 2 is the folder.
std::vector<u8> session(int kind) {
  std::vector<u8> out;
  fuse_init_in init{};
  init.major = 7;
  init.minor = 38;
  init.flags = ~u32{0};
  request(out, FUSE_INIT, 0, with(init));
  request(out, FUSE_LOOKUP, 1, names("file"));
  fuse_open_in open{};
  open.flags = O_RDWR;
  request(out, FUSE_OPEN, 2, with(open));
  request(out, FUSE_OPENDIR, 1, with(fuse_open_in{}));
  fuse_read_in read{};
  read.fh = 1;
  read.size = 512;
  if (kind == 0) {
    fuse_write_in write{};
    write.fh = 1;
    write.size = 4;
    request(out, FUSE_WRITE, 2, with(write, "data"));
    request(out, FUSE_READ, 2, with(read));
    request(out, FUSE_FALLOCATE, 2, with(fuse_fallocate_in{1, 0, 4096, 0, 0}));
    request(out, FUSE_LSEEK, 2, with(fuse_lseek_in{1, 0, SEEK_DATA, 0}));
    request(out, FUSE_COPY_FILE_RANGE, 2, with(fuse_copy_file_range_in{1, 0, 2, 1, 100, 4, 0}));
    request(out, FUSE_FSYNC, 2, with(fuse_fsync_in{1, 0, 0}));
    request(out, FUSE_FLUSH, 2, with(fuse_flush_in{1, 0, 0, 0}));
    request(out, FUSE_RELEASE, 2, with(fuse_release_in{1, 0, 0, 0}));
  } else if (kind == 1) {
    fuse_create_in create{};
    create.flags = O_RDWR;
    create.mode = 0644;
    request(out, FUSE_CREATE, 1, with(create, "new"));
    request(out, FUSE_MKDIR, 1, with(fuse_mkdir_in{0755, 0}, "folder"));
    request(out, FUSE_MKNOD, 1, with(fuse_mknod_in{S_IFIFO | 0600, 0, 0, 0}, "fifo"));
    request(out, FUSE_SYMLINK, 1, names("soft", "../outside"));
    request(out, FUSE_LINK, 1, with(fuse_link_in{2}, "hard"));
    request(out, FUSE_RENAME2, 1, with(fuse_rename2_in{1, 0, 0}, "new", "newer"));
    request(out, FUSE_UNLINK, 1, names("hard"));
    request(out, FUSE_RMDIR, 1, names("folder"));
    request(out, FUSE_LOOKUP, 1, names("link"));
  } else {
    read.fh = 2;
    request(out, FUSE_READDIR, 1, with(read));
    read.offset = 0;
    request(out, FUSE_READDIRPLUS, 1, with(read));
    request(out, FUSE_STATFS, 1, {});
    fuse_setattr_in attributes{};
    attributes.valid = FATTR_MODE | FATTR_SIZE | FATTR_MTIME;
    attributes.mode = 0600;
    request(out, FUSE_SETATTR, 2, with(attributes));
    fuse_setxattr_in xattr{};
    xattr.size = 5;
    request(out, FUSE_SETXATTR, 2, with(xattr, "user.a", "value"));
    request(out, FUSE_GETXATTR, 2, with(fuse_getxattr_in{100, 0}, "user.a"));
    request(out, FUSE_LISTXATTR, 2, with(fuse_getxattr_in{100, 0}));
    request(out, FUSE_REMOVEXATTR, 2, names("user.a"));
    request(out, FUSE_BATCH_FORGET, 0, with(fuse_batch_forget_in{1, 0}, std::string(16, '\2')));
    request(out, FUSE_FORGET, 2, with(fuse_forget_in{1}));
    request(out, FUSE_RELEASEDIR, 1, with(fuse_release_in{2, 0, 0, 0}));
  }
  request(out, FUSE_DESTROY, 0, {});
  return out;
}

}  // namespace

std::vector<std::vector<u8>> nagaya::fuzz::seeds() { return {session(0), session(1), session(2)}; }

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static Place place;
  static unsigned runs = 0;
  if (runs++ % 64 == 0) place.fill();
  auto server = fuse::Server::open({.path = (place.base / "share").string(), .descriptors = 64});
  if (!server) std::abort();
  std::vector<u8> input, out(room + guard);
  for (unsigned step = 0; step < 64 && size > 2; ++step) {
    u16 length = 0;
    std::memcpy(&length, data, sizeof length);
    const std::size_t count = std::min<std::size_t>(length, size - 2);
    input.assign(data + 2, data + 2 + count);
    data += 2 + count;
    size -= 2 + count;
    // Files of petabytes would only slow this down.
    if (count >= sizeof(fuse_in_header) + 24) {
      u32 opcode = 0;
      std::memcpy(&opcode, input.data() + 4, sizeof opcode);
      if (opcode == FUSE_FALLOCATE) std::memset(input.data() + sizeof(fuse_in_header) + 12, 0, 4), std::memset(input.data() + sizeof(fuse_in_header) + 19, 0, 5);
    }
    std::ranges::fill(out, u8{0x5a});
    const std::size_t given = step % 5 == 4 ? 40 : room;
    const iovec in[] = {{input.data(), count / 2}, {input.data() + count / 2, count - count / 2}};
    const iovec to[] = {{out.data(), 20}, {out.data() + 20, given - 20}};
    const auto written = (*server)->serve(in, to);
    if (written && *written > given) std::abort();
    if (std::any_of(out.begin() + static_cast<std::ptrdiff_t>(given), out.end(), [](u8 byte) { return byte != 0x5a; })) std::abort();
  }
  place.check();
  state::Writer saved;
  (*server)->save(saved);
  auto other = fuse::Server::open({.path = (place.base / "share").string(), .descriptors = 64});
  if (!other) std::abort();
  state::Reader reader("fs", 1, saved.bytes());
  (*other)->restore(reader);
  if (!reader.finish()) std::abort();
  return 0;
}

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <memory>

#include "cgroup/cgroup.hpp"
#include "host/jail.hpp"
#include "host/signal.hpp"
#include "procview/server/budget.hpp"
#include "procview/server/open_files.hpp"
#include "procview/server/serve.hpp"
#include "procview/server/tree.hpp"

namespace nagaya::procview {
namespace {

constexpr double unchanging = 3600;  ///< seconds the kernel need not ask again
constexpr int sample_every = 5000;  ///< milliseconds, as the kernel's LOAD_FREQ

/// What the handlers share. One thread: nobody contends.
struct Service {
  Tree tree;
  OpenFiles open{};
  Shared& shared;
  fuse_session* session = nullptr;
};

Service& of(fuse_req_t request) { return *static_cast<Service*>(fuse_req_userdata(request)); }

/// Without a file's size, which is its text's now, and good for this moment only: sendfile(2) and tail read no further
/// than it says. To make a text costs more than all else: it is made where it is asked for.
struct stat attributes(const Node& node) {
  struct stat out{};
  out.st_ino = node.number;
  out.st_mode = node.folder ? S_IFDIR | 0555 : S_IFREG | 0444;
  out.st_nlink = node.folder ? 2 : 1;
  return out;
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Service& service = of(request);  // a request is gone with its reply
  const auto node = service.tree.lookup(parent, name);
  if (!node) {
    fuse_reply_err(request, node.error());
    return;
  }
  fuse_entry_param entry{};
  entry.ino = node->number;
  entry.attr = attributes(*node);
  if (node->folder) entry.attr_timeout = unchanging;
  // A later container of the same name has numbers of its own; what is below them stays.
  if (parent != Tree::root) entry.entry_timeout = unchanging;
  // The caller is gone: its reference is, too.
  if (fuse_reply_entry(request, &entry) == -ENOENT) service.tree.forget(node->number, 1);
}

void on_forget(fuse_req_t request, fuse_ino_t node, u64 count) {
  of(request).tree.forget(node, count);
  fuse_reply_none(request);
}

void on_getattr(fuse_req_t request, fuse_ino_t number, fuse_file_info*) {
  const auto node = of(request).tree.find(number);
  if (!node) {
    fuse_reply_err(request, node.error());
    return;
  }
  struct stat out = attributes(*node);
  if (node->folder) {
    fuse_reply_attr(request, &out, unchanging);
    return;
  }
  if (const auto text = of(request).tree.read(number)) out.st_size = static_cast<off_t>(text->size());
  fuse_reply_attr(request, &out, 0);
}

void on_init(void*, fuse_conn_info* connection) {
  connection->max_write = 4096;  // nothing is written: requests are small
}

void on_open(fuse_req_t request, fuse_ino_t number, fuse_file_info* file) {
  Service& service = of(request);
  if ((file->flags & O_ACCMODE) != O_RDONLY) {
    fuse_reply_err(request, EROFS);
    return;
  }
  auto text = service.tree.read(number);
  if (!text || !service.open.room(text->size())) {
    fuse_reply_err(request, text ? ENFILE : text.error());
    return;
  }
  // sendfile(2) goes through the page cache, whatever direct_io says, and only as far as the size reaches that the
  // kernel knows; a text that has grown since it asked would be cut. A byte put at the end moves the size; the page
  // goes again as the file is opened.
  if (!text->empty()) {
    fuse_bufvec end{};
    end.count = 1;
    end.buf[0].size = 1;
    end.buf[0].mem = &text->back();
    fuse_lowlevel_notify_store(service.session, number, static_cast<off_t>(text->size() - 1), &end,
                               static_cast<fuse_buf_copy_flags>(0));
  }
  file->fh = ++service.shared.next_handle;
  file->direct_io = 1;
  service.open.keep(file->fh, std::move(*text), true);
  if (fuse_reply_open(request, file) == -ENOENT) service.open.close(file->fh);
}

void on_read(fuse_req_t request, fuse_ino_t number, std::size_t size, off_t offset, fuse_file_info* file) {
  Service& service = of(request);
  const auto answer = [&](const std::string& text) {
    const auto at = std::min(static_cast<std::size_t>(offset), text.size());
    fuse_reply_buf(request, text.data() + at, std::min(size, text.size() - at));
  };
  auto* open = service.open.find(file->fh);
  if (open != nullptr && (offset != 0 || open->fresh)) {
    open->fresh = false;
    answer(open->text);
    return;
  }
  // Who reads from the beginning again wants to see what is now. A handle of a worker before us has no text: it gets
  // one, as long as there is room.
  auto text = service.tree.read(number);
  if (!text) {
    fuse_reply_err(request, text.error());
  } else if (service.open.close(file->fh); service.open.room(text->size())) {
    answer(service.open.keep(file->fh, std::move(*text), false).text);
  } else {
    answer(*text);
  }
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  of(request).open.close(file->fh);
  fuse_reply_err(request, 0);
}

void on_readdir(fuse_req_t request, fuse_ino_t number, std::size_t size, off_t offset, fuse_file_info*) {
  const auto entries = of(request).tree.list(number);
  if (!entries) {
    fuse_reply_err(request, entries.error());
    return;
  }
  std::string out;
  for (std::size_t i = static_cast<std::size_t>(offset); i < entries->size(); ++i) {
    const auto& [name, node] = (*entries)[i];
    struct stat info{};  // of it number and type are taken
    info.st_ino = node.number;
    info.st_mode = node.folder ? S_IFDIR : S_IFREG;
    const std::size_t needed = fuse_add_direntry(request, nullptr, 0, name.c_str(), nullptr, 0);
    if (out.size() + needed > size) break;
    const std::size_t at = out.size();
    out.resize(at + needed);
    fuse_add_direntry(request, out.data() + at, needed, name.c_str(), &info, static_cast<off_t>(i + 1));
  }
  fuse_reply_buf(request, out.data(), out.size());
}

fuse_lowlevel_ops operations() {
  fuse_lowlevel_ops ops{};
  ops.init = on_init;
  ops.lookup = on_lookup;
  ops.forget = on_forget;
  ops.getattr = on_getattr;
  ops.open = on_open;
  ops.read = on_read;
  ops.release = on_release;
  ops.readdir = on_readdir;
  return ops;
}

void process(fuse_session* session, void* bytes, std::size_t size) {
  fuse_buf buffer{};
  buffer.mem = bytes;
  buffer.size = size;
  fuse_session_process_buf(session, &buffer);
}

fuse_in_header& header_of(Shared& shared) { return *reinterpret_cast<fuse_in_header*>(shared.request); }

/// The first worker keeps the kernel's greeting; a later one hears it again from here. Its answer is for a request the
/// kernel does not know any more, which it says and nothing else.
void keep_greeting(Shared& shared) {
  const fuse_in_header& header = header_of(shared);
  if (shared.greeting.size != 0 || header.opcode != FUSE_INIT || header.len > sizeof shared.greeting.bytes) return;
  std::memcpy(shared.greeting.bytes, shared.request, header.len);
  shared.greeting.size = header.len;
}

/// The request in `shared` is answered, by this worker or the one before. One that killed two gets an error.
void finish_request(fuse_session* session, int connection, Shared& shared) {
  fuse_in_header& header = header_of(shared);
  if (header.len == 0) return;
  if (++shared.tries <= 2) {
    process(session, shared.request, header.len);
  } else {
    const fuse_out_header refusal{sizeof refusal, -EIO, header.unique};
    (void)!::write(connection, &refusal, sizeof refusal);
  }
  header.len = shared.tries = 0;
}

u64 clock_ns(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

}  // namespace

Result<> work(int connection, const std::string& folder, Shared& shared) {
  TRY_ASSIGN(auto signals, host::SignalFd::create({SIGTERM, SIGINT}));
  TRY_ASSIGN(auto layout, cgroup::read_layout());
  Service service{.tree = Tree(std::move(layout), folder), .shared = shared};
  char name[] = "nagaya-procview";
  char* arguments[] = {name, nullptr};
  fuse_args args{1, arguments, 0};
  const fuse_lowlevel_ops ops = operations();
  const std::unique_ptr<fuse_session, void (*)(fuse_session*)> session(
      fuse_session_new(&args, &ops, sizeof ops, &service), &fuse_session_destroy);
  fuse_opt_free_args(&args);
  if (!session) return fail("cannot start a FUSE session");
  service.session = session.get();
  // libfuse takes a connection that is mounted already by this name; its own descriptor it closes at the end.
  TRY_ASSIGN(host::Fd own, host::Fd::duplicate(connection));
  if (fuse_session_mount(session.get(), ("/dev/fd/" + std::to_string(own.get())).c_str()) != 0)
    return fail("cannot take up the FUSE connection");
  (void)own.release();
  // It reads /proc, /sys and records; nothing it is asked for needs more.
  TRY(host::enter_jail({.threads = false, .write_files = false}));
  if (shared.greeting.size != 0) process(session.get(), shared.greeting.bytes, shared.greeting.size);
  finish_request(session.get(), connection, shared);

  Budget budget;
  while (fuse_session_exited(session.get()) == 0) {
    pollfd ready[2] = {{signals.fd(), POLLIN, 0}, {connection, POLLIN, 0}};
    // No request is taken before its time: one that waits in the kernel can be given up by its reader.
    if (const u64 wait = budget.wait(clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_PROCESS_CPUTIME_ID)); wait != 0) {
      if (::poll(ready, 1, static_cast<int>(wait / 1'000'000) + 1) > 0 && signals.next() != 0) break;
    }
    const int count = ::poll(ready, 2, service.tree.sampling() ? sample_every : -1);
    if (count < 0 && errno != EINTR) return fail_errno("cannot wait for requests");
    if (count == 0) service.tree.sample();
    if (ready[0].revents != 0 && signals.next() != 0) break;
    if (count <= 0 || ready[1].revents == 0) continue;
    const ssize_t got = ::read(connection, shared.request, sizeof shared.request);
    if (got <= 0) {
      header_of(shared).len = 0;
      if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;  // ENOENT: its reader has gone
      break;                                                                            // unmounted
    }
    keep_greeting(shared);
    finish_request(session.get(), connection, shared);
  }
  return {};
}

}  // namespace nagaya::procview

#include "fuse/server.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "fuse/session.hpp"
#include "host/apart.hpp"

namespace nagaya::fuse {
namespace {

// ---- The start of a session ----

/// What we offer. Locks stay in the client's kernel; without a write-back cache the host sees each write at once.
constexpr u64 offered = u64{FUSE_ASYNC_READ} | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS |
                        FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_MAX_PAGES |
                        FUSE_SETXATTR_EXT | FUSE_INIT_EXT;

int init(Session& session, Call& call) {
  // The first four fields are older than the rest.
  constexpr std::size_t short_form = offsetof(fuse_init_in, flags2);
  fuse_init_in args{};
  if (call.rest.size() < short_form) return EINVAL;
  std::memcpy(&args, call.rest.data(), std::min(call.rest.size(), sizeof args));
  fuse_init_out out{};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = FUSE_KERNEL_MINOR_VERSION;
  if (args.major < FUSE_KERNEL_VERSION || (args.major == FUSE_KERNEL_VERSION && args.minor < least_minor)) return EPROTO;
  if (args.major > FUSE_KERNEL_VERSION) {  // it asks again in our version
    call.put(out);
    return 0;
  }
  const u64 wanted = args.flags | (args.flags & FUSE_INIT_EXT ? u64{args.flags2} << 32 : 0);
  const u64 agreed = wanted & offered;
  session.handles.clear();
  session.nodes.begin(session.root);
  session.agreed = agreed;
  session.begun = true;
  out.max_readahead = args.max_readahead;
  out.flags = static_cast<u32>(agreed);
  out.flags2 = static_cast<u32>(agreed >> 32);
  out.max_background = 64;
  out.congestion_threshold = 48;
  out.max_write = most_transfer;
  out.max_pages = most_pages;
  out.time_gran = 1;
  call.put(out);
  return 0;
}

int destroy(Session& session, Call&) {
  session.handles.clear();
  session.nodes.begin(session.root);
  session.begun = false;
  session.agreed = 0;
  return 0;
}

int forget(Session& session, Call& call) {
  fuse_forget_in args{};
  if (!call.take(args)) return EINVAL;
  session.nodes.forget(call.head.nodeid, args.nlookup);
  return 0;
}

int forget_several(Session& session, Call& call) {
  fuse_batch_forget_in args{};
  if (!call.take(args)) return EINVAL;
  fuse_forget_one one{};
  for (u32 i = 0; i < args.count && call.take(one); ++i) session.nodes.forget(one.nodeid, one.nlookup);
  return 0;
}

/// Requests are short, so that none is ever stopped half-way.
int interrupt(Session&, Call&) { return 0; }

// ---- All operations ----

constexpr u8 changes = 1, silent = 2, always = 4;

struct Row {
  u32 opcode;
  Operation run;
  u8 traits = 0;  ///< changes: not on a read-only share; silent: has no reply; always: also before INIT
};

constexpr std::array rows = {
    Row{FUSE_INIT, init, always},
    Row{FUSE_DESTROY, destroy, always},
    Row{FUSE_INTERRUPT, interrupt, silent},
    Row{FUSE_FORGET, forget, silent},
    Row{FUSE_BATCH_FORGET, forget_several, silent},
    Row{FUSE_LOOKUP, lookup},
    Row{FUSE_GETATTR, get_attributes},
    Row{FUSE_SETATTR, set_attributes, changes},
    Row{FUSE_READLINK, read_link},
    Row{FUSE_SYMLINK, make_symlink, changes},
    Row{FUSE_MKNOD, make_node, changes},
    Row{FUSE_MKDIR, make_folder, changes},
    Row{FUSE_UNLINK, remove_file, changes},
    Row{FUSE_RMDIR, remove_folder, changes},
    Row{FUSE_RENAME, rename_plain, changes},
    Row{FUSE_RENAME2, rename_flags, changes},
    Row{FUSE_LINK, make_link, changes},
    Row{FUSE_OPEN, open_file},
    Row{FUSE_READ, read},
    Row{FUSE_WRITE, write, changes},
    Row{FUSE_STATFS, file_system_info},
    Row{FUSE_RELEASE, release},
    Row{FUSE_FSYNC, sync_file},
    Row{FUSE_FLUSH, flush},
    Row{FUSE_SETXATTR, set_xattr, changes},
    Row{FUSE_GETXATTR, get_xattr},
    Row{FUSE_LISTXATTR, list_xattr},
    Row{FUSE_REMOVEXATTR, remove_xattr, changes},
    Row{FUSE_OPENDIR, open_folder},
    Row{FUSE_READDIR, read_folder},
    Row{FUSE_READDIRPLUS, read_folder_plus},
    Row{FUSE_RELEASEDIR, release_folder},
    Row{FUSE_FSYNCDIR, sync_folder},
    Row{FUSE_ACCESS, access},
    Row{FUSE_CREATE, create, changes},
    Row{FUSE_FALLOCATE, allocate, changes},
    Row{FUSE_LSEEK, seek},
    Row{FUSE_COPY_FILE_RANGE, copy_range, changes},
    Row{FUSE_SYNCFS, sync_all},
};

const Row* find_row(u32 opcode) {
  const auto* row = std::ranges::find(rows, opcode, &Row::opcode);
  return row == rows.end() ? nullptr : row;
}

int run_row(Session& session, Call& call, const Row* row) {
  if (row == nullptr) return ENOSYS;
  if (!session.begun && !(row->traits & always)) return EIO;
  if (session.read_only && row->traits & changes) return EROFS;
  return told(row->run(session, call));
}

}  // namespace

u64 raise_descriptor_limit() {
  constexpr rlim_t wanted = 1 << 20;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  if (limit.rlim_cur < wanted) {
    // Past the hard limit only where we are allowed to.
    const rlimit most{std::max(wanted, limit.rlim_cur), std::max(wanted, limit.rlim_max)}, hard{limit.rlim_max, limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &most) != 0) (void)::setrlimit(RLIMIT_NOFILE, &hard);
    (void)::getrlimit(RLIMIT_NOFILE, &limit);
  }
  return limit.rlim_cur;
}

Server::Server(std::unique_ptr<Session> session) : session_(std::move(session)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::open(const ServerConfig& config) {
  auto session = std::make_unique<Session>(config.descriptors);
  TRY_ASSIGN(session->files, HostFile::create());
  auto root = std::make_shared<Node>();
  TRY_ASSIGN(root->fd, host::open_folder_apart(config.path));
  struct stat attributes{};
  if (::fstat(root->fd.get(), &attributes) != 0) return fail_errno(fmt::format("cannot share '{}'", config.path));
  root->id = FUSE_ROOT_ID;
  root->device = attributes.st_dev;
  root->inode = attributes.st_ino;
  root->type = S_IFDIR;
  session->read_only = config.read_only;
  session->privileged = ::geteuid() == 0;
  session->root = root;
  session->devices = {attributes.st_dev};
  session->nodes.begin(std::move(root));
  return std::unique_ptr<Server>(new Server(std::move(session)));
}

std::optional<u64> Server::serve(std::span<const iovec> in, std::span<const iovec> out) {
  thread_local std::vector<u8> arguments, reply;
  const u64 readable = total(in), writable = total(out);
  Call call{.reply = reply};
  if (gather(in, 0, std::span(reinterpret_cast<u8*>(&call.head), header_size)) != header_size) return {};
  if (call.head.len < header_size || call.head.len > readable) return {};
  call.in = in;
  call.out = out;
  call.in_bytes = call.head.len;
  const Row* row = find_row(call.head.opcode);
  const bool replies = row == nullptr || !(row->traits & silent);
  if (replies && writable < reply_header_size) return {};
  call.room = replies ? writable - reply_header_size : 0;

  // Content stays where it is; everything else is copied before anybody looks at it.
  const u64 wanted = call.head.opcode == FUSE_WRITE ? std::min<u64>(call.in_bytes - header_size, sizeof(fuse_write_in))
                                                    : call.in_bytes - header_size;
  int error = 0;
  reply.clear();
  if (wanted > most_arguments) {
    error = E2BIG;
  } else {
    arguments.resize(wanted);
    gather(in, header_size, arguments);
    call.rest = arguments;
    error = run_row(*session_, call, row);
  }
  if (!replies) return 0;
  if (error != 0) {
    reply.clear();
    call.direct = 0;
  }
  // A reply that finds no room: some clients have shorter structures for INIT, nothing else may be cut.
  if (reply.size() > call.room) {
    if (call.head.opcode != FUSE_INIT) return {};
    reply.resize(call.room);
  }
  fuse_out_header head{};
  head.len = static_cast<u32>(reply_header_size + reply.size() + call.direct);
  head.error = -error;
  head.unique = call.head.unique;
  scatter(out, 0, std::span(reinterpret_cast<const u8*>(&head), sizeof head));
  scatter(out, reply_header_size, reply);
  return head.len;
}

void Server::reset() {
  session_->handles.clear();
  session_->nodes.begin(session_->root);
  session_->begun = false;
  session_->agreed = 0;
  lost_ = 0;
}

}  // namespace nagaya::fuse

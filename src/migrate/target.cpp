#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/scope.hpp"
#include "container/checkpoint/checkpoint.hpp"
#include "container/checkpoint/criu.hpp"
#include "container/checkpoint/lazy_pages.hpp"
#include "container/spec/parse.hpp"
#include "host/fd.hpp"
#include "migrate/definition.hpp"
#include "migrate/greeting.hpp"
#include "migrate/images.hpp"
#include "migrate/lazy.hpp"
#include "migrate/migrate.hpp"
#include "migrate/tree.hpp"

namespace nagaya::migrate {
namespace {

constexpr u32 rounds_limit = 64;

class Target {
 public:
  Target(Stream& stream, const TargetOptions& options) : stream_(stream), options_(options) {}

  Result<container::State> run() {
    TRY_ASSIGN(const container::criu::Program program, container::criu::find_program());
    TRY(greet(stream_, program, true));
    TRY_ASSIGN(const Frame told, stream_.expect(Kind::definition));
    TRY_ASSIGN(definition_, parse_definition(told.text()));
    if (definition_.lazy) TRY(container::can_fetch_lazy_pages(program));
    program_ = program;
    TRY_ASSIGN(spec_, container::parse_spec(definition_.config));
    const std::vector<std::string> trees = options_.trees.empty() ? std::vector{options_.bundle + "/rootfs"} : options_.trees;
    std::error_code code;
    for (const std::string& tree : trees) std::filesystem::create_directories(tree, code);
    std::filesystem::create_directories(options_.work, code);
    if (code) return fail("cannot make folder '" + options_.work + "'", code.message());
    ::chmod(options_.work.c_str(), 0700);
    if (options_.trees.empty()) spec_.root_path = trees[0];
    if (options_.adapt) TRY(options_.adapt(spec_));
    TRY(stream_.send(Kind::ready));
    for (;;) {
      TRY_ASSIGN(const Frame frame, stream_.receive());
      if (frame.kind == Kind::restore) break;
      if (frame.kind == Kind::tree_begin) {
        TRY_ASSIGN(const u32 number, Fields(frame.payload).u32_value());
        if (number >= trees.size()) return fail("the stream of the move is malformed", "it has more folders than this side");
        TRY(receive_tree(stream_, trees[number]));
      } else if (frame.kind == Kind::images_begin) {
        TRY(round(frame));
      } else {
        return fail("the stream of the move is malformed", fmt::format("frame {} came between rounds", static_cast<u32>(frame.kind)));
      }
    }
    if (last_.empty()) return fail("the stream of the move is malformed", "no images came");
    return restore();
  }

 private:
  Result<> round(const Frame& frame) {
    Fields fields(frame.payload);
    TRY_ASSIGN(const u32 number, fields.u32_value());
    if (number != count_ + 1 || number > rounds_limit) return fail("the stream of the move is malformed", "a round is out of turn");
    count_ = number;
    const std::string folder = fmt::format("{}/round-{}", options_.work, number);
    TRY(receive_images(stream_, folder, last_));
    if (definition_.chained && number > 1) {
      const std::string parent = fmt::format("../round-{}", number - 1);
      if (::symlink(parent.c_str(), (folder + "/parent").c_str()) != 0) return fail_errno("cannot link rounds of images");
    } else if (!last_.empty()) {
      std::filesystem::remove_all(last_);
    }
    last_ = folder;
    return {};
  }

  Result<container::State> restore() {
    if (options_.prepare) TRY(options_.prepare(spec_));
    const std::string text = container::write_spec(spec_);
    TRY(host::replace_file(options_.bundle + "/config.json", std::span(reinterpret_cast<const u8*>(text.data()), text.size())));
    container::RestoreOptions restore;
    const std::string id = options_.id.empty() ? definition_.id : options_.id;
    Fetcher fetcher;
    if (definition_.lazy) {
      if (options_.fetcher == nullptr) return fail("memory cannot follow here");
      TRY_ASSIGN(fetcher, fetch_lazily(stream_, program_, last_, options_.state_root, id));
      *options_.fetcher = fetcher.pid;
      restore.lazy_pages = true;
    }
    Stream inner(fetcher.inner.get(), fetcher.inner.get());
    Stream& said = definition_.lazy ? inner : stream_;
    restore.image_path = last_;
    restore.tcp_established = definition_.tcp_established;
    restore.ext_unix_sk = definition_.ext_unix_sk;
    restore.shell_job = definition_.shell_job;
    restore.file_locks = definition_.file_locks;
    restore.create.state_root = options_.state_root;
    restore.create.id = id;
    restore.create.bundle = options_.bundle;
    restore.create.console_socket = options_.console_socket;
    restore.create.console_connection = options_.console_connection;
    restore.create.pid_file = options_.pid_file;
    restore.create.spec = spec_;
    restore.at_step = [this, &said](std::string_view step) -> Result<> {
      if (step != "post-restore") return {};
      TRY(said.send(Kind::restored));
      TRY(said.expect(Kind::commit));
      return options_.committed ? options_.committed() : Result<>{};
    };
    auto state = container::restore(restore);
    if (state) TRY(said.send(Kind::running));
    if (!state && definition_.lazy) {
      // The stream is the other process's: it tells the source.
      if (state.error().code != ECANCELED) (void)inner.send(Kind::failed, std::string_view(state.error().message()).substr(0, 4096));
      state.error().code = ECANCELED;
    }
    return state;
  }

  Stream& stream_;
  const TargetOptions& options_;
  container::criu::Program program_;
  Definition definition_;
  container::Spec spec_;
  std::string last_;
  u32 count_ = 0;
};

}  // namespace

Result<container::State> receive_container(Stream& stream, const TargetOptions& options) {
  std::error_code ignored;
  if (std::filesystem::exists(options.work, ignored)) return fail("folder '" + options.work + "' is there already", "", "name one for the images that is not");
  const ScopeExit clear([&] { std::filesystem::remove_all(options.work, ignored); });
  auto state = Target(stream, options).run();
  if (!state && state.error().code != ECANCELED) (void)stream.send(Kind::failed, std::string_view(state.error().message()).substr(0, 4096));
  return state;
}

}  // namespace nagaya::migrate

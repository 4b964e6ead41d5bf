#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

#include "base/scope.hpp"
#include "container/checkpoint/checkpoint.hpp"
#include "container/checkpoint/criu.hpp"
#include "container/checkpoint/lazy_pages.hpp"
#include "migrate/definition.hpp"
#include "migrate/greeting.hpp"
#include "migrate/images.hpp"
#include "migrate/lazy.hpp"
#include "migrate/migrate.hpp"
#include "migrate/tree.hpp"

namespace nagaya::migrate {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// One move, from the source's side.
class Source {
 public:
  Source(Stream& stream, const SourceOptions& options, const std::vector<std::string>& trees)
      : stream_(stream), options_(options), trees_(trees.begin(), trees.end()) {}

  Result<Report> run(const container::criu::Features& features) {
    chained_ = features.memory_tracking;
    TRY(send_trees());
    for (u32 round = 1; round < options_.rounds && !options_.lazy; ++round) {
      TRY(dump(round, false));
      TRY_ASSIGN(const u64 sent, images_.send(stream_, folder(round), round));
      note(round, sent);
      if (!chained_ && round > 1) std::filesystem::remove_all(folder(round - 1));
      if (sent <= options_.small_bytes) break;
      // Memory is written as fast as it is sent: more rounds would not help.
      const auto& all = report_.page_bytes;
      if (all.size() > 1 && all.back() > all[all.size() - 2] * 9 / 10) break;
    }
    const u32 last = report_.rounds + 1;
    TRY(dump(last, true));
    report_.bytes = stream_.sent();
    report_.total_s = seconds_since(begin_);
    if (doubt_) {
      return fail("the container was handed over, but the other side did not say that it runs", doubt_->message(),
                  fmt::format("its images are kept in '{}': look there first, then restore them on one side only", folder(last)));
    }
    return report_;
  }

 private:
  [[nodiscard]] std::string folder(u32 round) const { return fmt::format("{}/round-{}", options_.work, round); }

  Result<> send_trees() {
    for (u32 i = 0; i < trees_.size(); ++i) TRY(trees_[i].send(stream_, i));
    return {};
  }

  void note(u32 round, u64 sent) {
    report_.rounds = round;
    report_.page_bytes.push_back(sent);
    if (options_.progress) options_.progress(fmt::format("round {}: {} KiB of memory", round, sent / 1024));
  }

  Result<> dump(u32 round, bool last) {
    container::CheckpointOptions dump;
    dump.state_root = options_.state_root;
    dump.id = options_.id;
    dump.image_path = folder(round);
    dump.tcp_established = options_.tcp_established;
    dump.ext_unix_sk = options_.ext_unix_sk;
    dump.shell_job = options_.shell_job;
    dump.file_locks = options_.file_locks;
    dump.leave_running = !last || options_.leave_running;
    dump.pre_dump = !last && chained_;
    if (chained_ && round > 1) dump.parent_path = fmt::format("../round-{}", round - 1);
    if (last) {
      dump.at_step = [this, round](std::string_view step) -> Result<> {
        if (step == "pre-dump") frozen_ = Clock::now();
        return step == "post-dump" ? hand_over(round) : Result<>{};
      };
    }
    if (!last || !options_.lazy) return container::checkpoint(dump);
    return dump_lazily(dump, round);
  }

  /// Its memory is served while CRIU's dump still holds it, from another thread: CRIU's own conversation goes on in this one.
  Result<> dump_lazily(container::CheckpointOptions& dump, u32 round) {
    TRY_ASSIGN(auto ends, host::Fd::socketpair());
    host::Fd ours = std::move(ends.first), theirs = std::move(ends.second);
    Result<> served;
    std::thread server;
    dump.lazy_pages = true;
    dump.page_socket = theirs.get();
    dump.at_step = [&](std::string_view step) -> Result<> {
      if (step == "pre-dump") frozen_ = Clock::now();
      if (step == "post-dump") {
        TRY(send_last(round));
      } else if (step == "status-ready") {
        theirs.reset();  // CRIU has it
        server = std::thread([&] {
          served = serve_lazily(stream_, std::move(ours), {.restored = [this] { return commit(); }, .running = [this] { report_.standstill_s = seconds_since(frozen_); }});
        });
      }
      return {};
    };
    auto done = container::checkpoint(dump);
    ours.reset();
    const bool server_began = server.joinable();
    if (server_began) server.join();
    if (done && served) return {};
    if (!done && options_.leaving) (void)options_.leaving(false);
    // What stopped the serving made CRIU fail, not the other way round.
    if (done || !server_began || served) return done;
    return std::unexpected(std::move(served.error()).within("the move ended before all memory was there, and the container goes on here"));
  }

  Result<> commit() {
    if (options_.leaving) TRY(options_.leaving(true));
    return stream_.send(Kind::commit);
  }

  Result<> send_last(u32 round) {
    TRY(send_trees());
    TRY_ASSIGN(const u64 sent, images_.send(stream_, folder(round), round));
    note(round, sent);
    return stream_.send(Kind::restore);
  }

  /// The container stands still and is saved. An error lets it go on here.
  Result<> hand_over(u32 round) {
    TRY(send_last(round));
    TRY(stream_.expect(Kind::restored));
    TRY(commit());
    auto running = stream_.expect(Kind::running);
    report_.standstill_s = seconds_since(frozen_);
    if (running) return {};
    // It told that it failed: then it is ours again. It fell silent: two of it would be worse than one that stands still.
    if (running.error().code == ECANCELED && options_.leaving) (void)options_.leaving(false);
    if (running.error().code == ECANCELED) return std::unexpected(std::move(running.error()));
    doubt_ = running.error();
    return {};
  }

  Stream& stream_;
  const SourceOptions& options_;
  std::vector<TreeSender> trees_;
  ImageSender images_;
  Report report_;
  bool chained_ = false;
  std::optional<Error> doubt_;
  Clock::time_point begin_ = Clock::now(), frozen_ = begin_;
};

}  // namespace

Result<Report> send_container(Stream& stream, const SourceOptions& options) {
  TRY_ASSIGN(const container::State state, container::state(options.state_root, options.id));
  if (state.status != container::Status::running) {
    return fail("cannot move container '" + options.id + "'", "it is " + std::string(container::status_name(state.status)) + ", not running");
  }
  if (options.lazy && !stream.answered()) return fail("a file cannot send memory later");
  if (options.lazy && options.tcp_established) {
    return fail("a move with lazy pages takes no connections along", "CRIU would not unlock them here if it failed in the middle", "leave out one of both");
  }
  if (options.leave_running && stream.answered()) return fail("a container that moves cannot stay");
  TRY_ASSIGN(const container::criu::Program program, container::criu::find_program());
  TRY_ASSIGN(const container::criu::Features features, container::criu::ask_features(program));
  if (options.lazy) TRY(container::can_serve_lazy_pages(program));
  Definition definition;
  definition.id = options.id;
  TRY_ASSIGN(definition.config, container::configuration(options.state_root, options.id));
  definition.chained = features.memory_tracking;
  definition.tcp_established = options.tcp_established;
  definition.ext_unix_sk = options.ext_unix_sk;
  definition.shell_job = options.shell_job;
  definition.file_locks = options.file_locks;
  definition.lazy = options.lazy;

  std::error_code ignored;
  if (std::filesystem::exists(options.work, ignored)) return fail("folder '" + options.work + "' is there already", "", "name one for the images that is not");
  std::filesystem::create_directories(options.work, ignored);
  ::chmod(options.work.c_str(), 0700);
  bool keep = false;
  const ScopeExit clear([&] {
    if (!keep) std::filesystem::remove_all(options.work, ignored);
  });

  TRY(greet(stream, program, false));
  TRY(stream.send(Kind::definition, write_definition(definition)));
  TRY(stream.expect(Kind::ready));
  Source source(stream, options, options.trees.empty() ? std::vector{state.rootfs} : options.trees);
  auto report = source.run(features);
  if (!report) {
    if (report.error().code != ECANCELED) (void)stream.send(Kind::failed, std::string_view(report.error().message()).substr(0, 4096));
    const auto left = container::state(options.state_root, options.id);
    keep = !left || left->status == container::Status::stopped;
  }
  return report;
}

}  // namespace nagaya::migrate

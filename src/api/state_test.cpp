// Tokens, events and operations over their database.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <thread>

#include "api/operations.hpp"
#include "api/static_files.hpp"
#include "api/tokens.hpp"

namespace nagaya::api {
namespace {

class State : public ::testing::Test {
 protected:
  State() { std::filesystem::create_directories(folder_); }
  ~State() override { std::filesystem::remove_all(folder_); }
  std::unique_ptr<Database> open() { return std::move(*Database::open(folder_ + "/x.db")); }
  const std::string folder_ = ::testing::TempDir() + "api_state_" + std::to_string(::getpid());
  const Caller admin_{.name = "root", .role = Role::admin};
};

TEST_F(State, TokensAreKnownAgainByTheirSecretAlone) {
  std::string secret;
  {
    const auto database = open();
    const auto tokens = std::move(*Tokens::open(*database));
    const auto made = tokens->create({{"name", "ci"}, {"role", "operator"}, {"projects", {"a", "b"}}});
    ASSERT_TRUE(made);
    secret = made->at("secret");
    EXPECT_EQ(tokens->create({{"name", "ci"}, {"role", "viewer"}}).error().status, 409u);
    EXPECT_EQ(tokens->create({{"name", "no"}, {"role", "viewer"}, {"projects", Json::array()}}).error().status, 400u);
    EXPECT_EQ(tokens->create({{"name", "no"}, {"role", "viewer"}, {"expires", "2001-01-01T00:00:00Z"}}).error().status, 400u);
    EXPECT_FALSE(tokens->list().dump().find(secret) != std::string::npos);
  }
  const auto database = open();
  const auto tokens = std::move(*Tokens::open(*database));
  const auto caller = tokens->check(secret);
  ASSERT_TRUE(caller);
  EXPECT_EQ(caller->name, "ci");
  EXPECT_EQ(caller->role, Role::operator_);
  EXPECT_EQ(caller->projects, (std::vector<std::string>{"a", "b"}));
  std::string wrong = secret;
  wrong.back() = wrong.back() == 'A' ? 'B' : 'A';
  for (const std::string& bad : {std::string(), std::string("nagaya_"), wrong, secret + "x", secret.substr(0, 24)}) EXPECT_FALSE(tokens->check(bad)) << bad;
  EXPECT_TRUE(tokens->renewed(*caller));
  EXPECT_TRUE(tokens->remove("ci"));
  EXPECT_FALSE(tokens->check(secret));
  EXPECT_FALSE(tokens->renewed(*caller));
  EXPECT_EQ(tokens->remove("ci").error().status, 404u);
  // The file holds hashes, and is its owner's alone.
  EXPECT_EQ(std::filesystem::status(folder_ + "/x.db").permissions() & std::filesystem::perms(0077), std::filesystem::perms::none);
  const auto bytes = host::read_file(folder_ + "/x.db", 64 * MiB);
  EXPECT_EQ(std::string(bytes->begin(), bytes->end()).find(secret.substr(25)), std::string::npos);
}

TEST_F(State, ANewTokenOfAnOldNameIsAnother) {
  const auto database = open();
  const auto tokens = std::move(*Tokens::open(*database));
  const auto old = tokens->check((*tokens->create({{"name", "a"}, {"role", "admin"}}))["secret"].get<std::string>());
  ASSERT_TRUE(tokens->remove("a"));
  ASSERT_TRUE(tokens->create({{"name", "a"}, {"role", "viewer"}}));
  EXPECT_FALSE(tokens->renewed(*old));
}

TEST_F(State, EventsGoOnWhereAFollowerWas) {
  {
    const auto database = open();
    const auto events = std::move(*Events::open(*database));
    for (int i = 0; i < 10; i++) events->add({{"kind", "started"}, {"domain", "d" + std::to_string(i % 2)}, {"project", i < 5 ? "a" : "b"}});
  }
  const auto database = open();
  const auto events = std::move(*Events::open(*database));
  i64 at = 3;
  EXPECT_EQ(events->after(at, admin_, "", 100).size(), 7u);
  EXPECT_EQ(at, 10);
  EXPECT_TRUE(events->after(at, admin_, "", 100).empty());
  at = 0;
  EXPECT_EQ(events->after(at, {.name = "x", .role = Role::viewer, .projects = {"b"}}, "", 100).size(), 5u);
  at = 0;
  EXPECT_EQ(events->after(at, admin_, "d1", 2).size(), 2u);
  EXPECT_EQ(at, 4);
  events->add({{"kind", "image"}});
  const auto rest = events->after(at = 10, {.name = "x", .role = Role::viewer, .projects = {"b"}}, "", 100);
  ASSERT_EQ(rest.size(), 1u) << "what has no project is everyone's";
  EXPECT_EQ(rest[0]["id"], 11);
}

TEST_F(State, EventsAreBounded) {
  const auto database = open();
  const auto events = std::move(*Events::open(*database));
  for (std::size_t i = 0; i < kept_events + 600; i++) events->add({{"kind", "started"}});
  i64 at = 0;
  EXPECT_EQ(events->after(at, admin_, "", 100'000).size(), kept_events);
  const auto rows = database->run("SELECT COUNT(*) FROM events");
  EXPECT_LE(number_of((*rows)[0][0]), static_cast<i64>(kept_events + 512));
}

// An operation that goes on until it is let go or asked to stop.
struct Gate {
  std::promise<void> promise;
  std::shared_future<void> open{promise.get_future()};
  Operations::Work work() {
    return [open = open](Task& task) -> Answer<> {
      while (open.wait_for(std::chrono::milliseconds(5)) != std::future_status::ready) {
        if (task.stop().stop_requested()) return refuse(409, "cancelled");
      }
      return {};
    };
  }
};

std::string wait_end(Operations& operations, const std::string& id, const Caller& caller) {
  for (;;) {
    const std::string state = (*operations.get(id, caller))["state"];
    if (state != "running") return state;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST_F(State, OneOperationForEachTarget) {
  const auto database = open();
  const auto events = std::move(*Events::open(*database));
  const auto operations = std::move(*Operations::open(*database, *events));
  Gate gate;
  const auto first = operations->start({.kind = "stop", .target = "web", .key = "domain web", .project = "a"}, gate.work());
  ASSERT_TRUE(first);
  const auto second = operations->start({.kind = "start", .target = "web", .key = "domain web", .project = "a"}, gate.work());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().status, 409u);
  EXPECT_NE(second.error().detail.find(first->at("id").get<std::string>()), std::string::npos);
  EXPECT_EQ(operations->hold("domain web").error().status, 409u);
  EXPECT_TRUE(operations->start({.kind = "start", .target = "db", .key = "domain db", .project = "a"}, gate.work()));
  // A kill comes through, once.
  const auto kill = operations->start({.kind = "kill", .target = "web", .key = "domain web", .project = "a", .beside = true}, gate.work());
  ASSERT_TRUE(kill);
  EXPECT_FALSE(operations->start({.kind = "kill", .target = "web", .key = "domain web", .project = "a", .beside = true}, gate.work()));
  gate.promise.set_value();
  EXPECT_EQ(wait_end(*operations, (*first)["id"], admin_), "done");
  EXPECT_EQ(wait_end(*operations, (*kill)["id"], admin_), "done");
  {
    const auto held = operations->hold("domain web");
    ASSERT_TRUE(held);
    EXPECT_FALSE(operations->start({.kind = "start", .target = "web", .key = "domain web"}, gate.work()));
  }
  EXPECT_TRUE(operations->start({.kind = "start", .target = "web", .key = "domain web"}, gate.work()));
}

TEST_F(State, OperationsAreCancelledByThoseWhoSeeThem) {
  const auto database = open();
  const auto events = std::move(*Events::open(*database));
  const auto operations = std::move(*Operations::open(*database, *events));
  Gate gate;
  const Caller stranger{.name = "x", .role = Role::operator_, .projects = {"b"}};
  const std::string id = (*operations->start({.kind = "pull", .target = "i", .key = "image i", .project = "a", .cancellable = true}, gate.work()))["id"];
  EXPECT_EQ(operations->get(id, stranger).error().status, 404u);
  EXPECT_EQ(operations->cancel(id, stranger).error().status, 404u);
  EXPECT_TRUE(operations->list(stranger).empty());
  EXPECT_TRUE(operations->cancel(id, admin_));
  EXPECT_EQ(wait_end(*operations, id, admin_), "cancelled");
  EXPECT_EQ(operations->cancel(id, admin_).error().status, 409u);
  const std::string firm = (*operations->start({.kind = "delete", .target = "i", .key = "domain i"}, gate.work()))["id"];
  EXPECT_EQ(operations->cancel(firm, admin_).error().status, 422u);
  gate.promise.set_value();
  for (const char* bad : {"", "op", "op0", "opx", "1", "op1x", "op-1", "op99999999999999999999"}) EXPECT_EQ(operations->get(bad, admin_).error().status, 404u) << bad;
}

TEST_F(State, WhatThrowsFailsAndWhatIsFullIsRefused) {
  const auto database = open();
  const auto events = std::move(*Events::open(*database));
  const auto operations = std::move(*Operations::open(*database, *events, 1));
  const auto id = operations->start({.kind = "x", .target = "a", .key = "a"}, [](Task&) -> Answer<> { throw std::runtime_error("broken"); });
  EXPECT_EQ(wait_end(*operations, (*id)["id"], admin_), "failed");
  Gate gate;
  unsigned status = 0;
  int taken = 0;
  for (; taken < 1000 && status == 0; taken++) {
    const auto started = operations->start({.kind = "x", .target = "t", .key = std::to_string(taken)}, gate.work());
    if (!started) status = started.error().status;
  }
  EXPECT_EQ(status, 429u);
  EXPECT_LT(taken, 300);
  gate.promise.set_value();
}

TEST_F(State, AKilledServersOperationsAreInterrupted) {
  std::string id;
  {
    const auto database = open();
    ASSERT_TRUE(database->run("INSERT INTO operations(kind, target, project, state, message, error, started, finished) VALUES"
                              "('start','web','a','running','','null','2026-01-01T00:00:00Z','')"));
  }
  const auto database = open();
  const auto events = std::move(*Events::open(*database));
  const auto operations = std::move(*Operations::open(*database, *events));
  const Json all = operations->list(admin_);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0]["state"], "failed");
  EXPECT_NE(all[0]["error"]["detail"].get<std::string>().find("interrupted"), std::string::npos);
  EXPECT_TRUE(operations->start({.kind = "start", .target = "web", .key = "domain web"}, [](Task&) { return Answer<>(); })) << "it is busy no more";
}

TEST_F(State, ANewersDatabaseIsRefused) {
  ASSERT_TRUE(open()->run("PRAGMA user_version=99"));
  EXPECT_FALSE(Database::open(folder_ + "/x.db"));
}

TEST_F(State, FilesOfTheConsole) {
  std::filesystem::create_directories(folder_ + "/web/assets");
  const auto write = [&](const std::string& name, const std::string& text) {
    ASSERT_TRUE(host::replace_file(folder_ + name, {reinterpret_cast<const u8*>(text.data()), text.size()}));
  };
  EXPECT_FALSE(StaticFiles::load(folder_ + "/web")) << "no index.html";
  write("/web/index.html", "<p>");
  write("/web/assets/a.js", "1");
  write("/secret", "s");
  std::filesystem::create_symlink(folder_ + "/secret", folder_ + "/web/link.txt");
  const auto files = StaticFiles::load(folder_ + "/web");
  ASSERT_TRUE(files);
  EXPECT_EQ(std::get<std::string>(files->get("/", "").body), "<p>");
  EXPECT_EQ(std::get<std::string>(files->get("/domains/web", "").body), "<p>") << "a page of the console";
  EXPECT_EQ(files->get("/assets/a.js", "").type, "text/javascript; charset=utf-8");
  for (const char* missing : {"/assets/b.js", "/link.txt", "/../secret.x", "/assets/../../x.y"}) EXPECT_EQ(files->get(missing, "").status, 404u) << missing;
  const std::string etag = files->get("/", "").etag;
  EXPECT_EQ(files->get("/", etag).status, 304u);
  EXPECT_EQ(files->get("/", "\"x\", W/" + etag).status, 304u);
  EXPECT_EQ(files->get("/", "\"x\"").status, 200u);
}

}  // namespace
}  // namespace nagaya::api

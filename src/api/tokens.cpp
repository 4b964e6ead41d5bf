#include "api/tokens.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <array>
#include <ctime>
#include <mutex>

#include "api/text.hpp"

namespace nagaya::api {
namespace {

// "nagaya_ID_SECRET": programs that look for leaked secrets know them by the beginning. 256 random bits need no slow hash.
constexpr std::string_view prefix = "nagaya_";
constexpr std::size_t id_digits = 16;

Result<std::array<u8, 32>> random_bytes() {
  std::array<u8, 32> out;
  if (RAND_bytes(out.data(), static_cast<int>(out.size())) != 1) return fail("there are no random numbers");
  return out;
}

std::string hash_of(const std::string& salt, std::string_view secret) {
  const std::string text = salt + ":" + std::string(secret);
  std::array<u8, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const u8*>(text.data()), text.size(), digest.data());
  return hexadecimal(digest);
}

bool expired(i64 expires) { return expires != 0 && expires <= std::time(nullptr); }

}  // namespace

Result<std::unique_ptr<Tokens>> Tokens::open(Database& database) {
  std::unique_ptr<Tokens> out(new Tokens(database));
  TRY_ASSIGN(const auto rows, database.run("SELECT name, id, salt, hash, role, projects, created, expires FROM tokens"));
  for (const Database::Row& row : rows) {
    Token token{.id = text_of(row[1]), .salt = text_of(row[2]), .hash = text_of(row[3]), .created = text_of(row[6]), .expires = number_of(row[7])};
    TRY_ASSIGN(token.caller.role, parse_role(text_of(row[4])));
    token.caller.name = text_of(row[0]);
    token.caller.token = token.id;
    const Json projects = Json::parse(text_of(row[5]), nullptr, false);
    if (!projects.is_array()) return fail("the server's database", fmt::format("token '{}' is damaged", token.caller.name));
    for (const Json& project : projects) token.caller.projects.push_back(project.get<std::string>());
    out->name_of_[token.id] = token.caller.name;
    out->by_name_[token.caller.name] = std::move(token);
  }
  return out;
}

Json Tokens::shown(const Token& token) {
  Json out = {{"name", token.caller.name}, {"role", role_name(token.caller.role)}, {"created", token.created}};
  if (token.caller.confined()) out["projects"] = token.caller.projects;
  if (token.expires != 0) out["expires"] = time_text(token.expires);
  return out;
}

Json Tokens::list() const {
  const std::shared_lock lock(mutex_);
  Json out = Json::array();
  for (const auto& [name, token] : by_name_) out.push_back(shown(token));
  return out;
}

Answer<Json> Tokens::create(const Json& request) {
  Token token{.created = now_text()};
  token.caller.name = request.at("name");
  auto role = parse_role(request.at("role").get<std::string>());
  if (!role) return std::unexpected(problem_of(role.error()));
  token.caller.role = *role;
  // "projects": [] would read as "none" and mean "all".
  if (request.contains("projects") && request["projects"].empty()) return refuse(400, "projects: it must name one at least", "projects", "leave it out for all");
  token.caller.projects = request.value("projects", std::vector<std::string>{});
  if (request.contains("expires")) {
    token.expires = parse_time(request["expires"].get<std::string>()).value_or(1);
    if (expired(token.expires)) return refuse(400, "expires: it is in the past", "expires");
  }
  const auto secret_bytes = random_bytes(), other = random_bytes();
  if (!secret_bytes || !other) return refuse(500, "there are no random numbers");
  token.id = hexadecimal(std::span(*other).first(id_digits / 2));
  token.salt = hexadecimal(std::span(*other).subspan(16));
  token.caller.token = token.id;
  const std::string secret = fmt::format("{}{}_{}", prefix, token.id, base64url(*secret_bytes));
  token.hash = hash_of(token.salt, secret);

  const std::unique_lock lock(mutex_);
  if (by_name_.contains(token.caller.name)) return refuse(409, fmt::format("there is a token '{}' already", token.caller.name), "name");
  const auto done = database_.run("INSERT INTO tokens VALUES(?,?,?,?,?,?,?,?)",
                                  {token.caller.name, token.id, token.salt, token.hash, std::string(role_name(token.caller.role)),
                                   Json(token.caller.projects).dump(), token.created, token.expires});
  if (!done) return std::unexpected(problem_of(done.error()));
  Json out = shown(token);
  out["secret"] = secret;
  name_of_[token.id] = token.caller.name;
  by_name_[token.caller.name] = std::move(token);
  return out;
}

Answer<> Tokens::remove(const std::string& name) {
  const std::unique_lock lock(mutex_);
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return refuse(404, fmt::format("there is no token '{}'", name));
  if (auto done = database_.run("DELETE FROM tokens WHERE name=?", {name}); !done) return std::unexpected(problem_of(done.error()));
  name_of_.erase(found->second.id);
  by_name_.erase(found);
  return {};
}

std::optional<Caller> Tokens::check(std::string_view secret) const {
  const std::shared_lock lock(mutex_);
  static const Token nobody{.id = {}, .salt = std::string(32, '0'), .hash = std::string(64, '0')};
  const Token* token = &nobody;
  if (secret.starts_with(prefix) && secret.size() > prefix.size() + id_digits) {
    const auto name = name_of_.find(std::string(secret.substr(prefix.size(), id_digits)));
    if (name != name_of_.end()) token = &by_name_.at(name->second);
  }
  const std::string hash = hash_of(token->salt, secret);
  const bool right = CRYPTO_memcmp(hash.data(), token->hash.data(), hash.size()) == 0;
  if (!right || token == &nobody || expired(token->expires)) return {};
  return token->caller;
}

std::optional<Caller> Tokens::named(const std::string& name) const {
  const std::shared_lock lock(mutex_);
  const auto found = by_name_.find(name);
  if (found == by_name_.end() || expired(found->second.expires)) return {};
  return found->second.caller;
}

std::optional<Caller> Tokens::renewed(const Caller& caller) const {
  if (caller.token.empty()) return caller;
  const std::shared_lock lock(mutex_);
  const auto name = name_of_.find(caller.token);
  if (name == name_of_.end()) return {};
  const Token& token = by_name_.at(name->second);
  if (expired(token.expires)) return {};
  return token.caller;
}

}  // namespace nagaya::api

#include "api/router.hpp"

#include <gtest/gtest.h>

namespace nagaya::api {
namespace {

class Routes : public ::testing::Test {
 protected:
  std::string find(const std::string& method, const std::string& target) {
    const auto parsed = parse_target(target);
    if (!parsed) return std::to_string(parsed.error().status);
    allowed_.clear();
    const auto route = router_.find(method, parsed->segments, allowed_);
    if (!route) return std::to_string(route.error().status);
    parameters_ = route->parameters;
    return route->operation->id;
  }
  std::shared_ptr<const Document> document_ = *Document::parse(document_text());
  Router router_{*document_};
  std::vector<std::string> allowed_;
  std::map<std::string, std::string> parameters_;
};

TEST_F(Routes, EveryOperationIsFoundByItsOwnPath) {
  for (const OperationSpec& operation : document_->operations()) {
    std::string path;
    for (const std::string& segment : operation.segments) {
      const bool parameter = segment.starts_with('{');
      const Parameter* p = parameter ? operation.find(Parameter::In::path, segment.substr(1, segment.size() - 2)) : nullptr;
      path += "/" + (!parameter ? segment : p->schema->contains("enum") ? p->schema->at("enum")[0].get<std::string>() : std::string("x"));
    }
    EXPECT_EQ(find(operation.method, path), operation.id) << path;
    if (operation.method == "GET") {
      EXPECT_EQ(find("HEAD", path), operation.id);
    }
    EXPECT_EQ(find("BREW", path), "405");
    EXPECT_FALSE(allowed_.empty());
  }
}

TEST_F(Routes, FixedWordsComeBeforeParameters) {
  EXPECT_EQ(find("GET", "/v1/domains/web/logs"), "getLogs");
  EXPECT_EQ(find("POST", "/v1/domains/web/logs"), "405");
  EXPECT_EQ(find("POST", "/v1/domains/web/start"), "actOnDomain");
  EXPECT_EQ(parameters_.at("action"), "start");
  EXPECT_EQ(find("GET", "/v1/domains/web/start"), "405");
  EXPECT_EQ(allowed_, (std::vector<std::string>{"POST", "OPTIONS"}));
  EXPECT_EQ(find("POST", "/v1/domains/web/explode"), "404");
  EXPECT_EQ(find("DELETE", "/v1/domains"), "405");
}

TEST_F(Routes, OddTargets) {
  for (const char* nothing : {"/", "/v1", "/v1/", "/v2/info", "/v1/info/", "/v1//info", "/v1/domains/a/b/c", "/V1/info", "/v1/./info"}) {
    EXPECT_EQ(find("GET", nothing), "404") << nothing;
  }
  for (const char* bad : {"", "*", "info", "/v1/%", "/v1/%zz", "/v1/%00", "/v1/%0a", "/v1/%ff", "/v1/domains/x?a=%00", "/v1/domains/x?a=%ff", "/a b"}) {
    EXPECT_EQ(find("GET", bad), "400") << bad;
  }
  EXPECT_EQ(find("GET", "/v1/images/docker.io%2Flibrary%2Fx%3A1"), "getImage");
  EXPECT_EQ(parameters_.at("image"), "docker.io/library/x:1");
  EXPECT_EQ(find("GET", "/v1/domains/..%2f..%2fetc"), "getDomain");  // the schema of a name refuses it later
  EXPECT_EQ(parameters_.at("domain"), "../../etc");
}

TEST(Target, QueriesKeepTheirOrder) {
  const auto parsed = parse_target("/x?command=ls&command=-l&env=A%3D1%26&flag");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->query.at("command"), (std::vector<std::string>{"ls", "-l"}));
  EXPECT_EQ(parsed->query.at("env"), (std::vector<std::string>{"A=1&"}));
  EXPECT_EQ(parsed->query.at("flag"), (std::vector<std::string>{""}));
}

}  // namespace
}  // namespace nagaya::api

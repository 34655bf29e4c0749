#include "llm/endpoint.hpp"

#include <gtest/gtest.h>

namespace llm {
namespace {

TEST(Endpoint, IsToldByTheEndOfThePath) {
    EXPECT_EQ(endpoint_of("/v1/chat/completions"), Endpoint::chat_completions);
    EXPECT_EQ(endpoint_of("/chat/completions"), Endpoint::chat_completions);
    EXPECT_EQ(endpoint_of("/openai/deployments/x/chat/completions"), Endpoint::chat_completions);
    EXPECT_EQ(endpoint_of("/v1/completions"), Endpoint::completions);
    EXPECT_EQ(endpoint_of("/v1/embeddings"), Endpoint::embeddings);
    EXPECT_EQ(endpoint_of("/v1/models"), Endpoint::models);
    EXPECT_EQ(endpoint_of("/utils/token_counter"), Endpoint::token_counter);
}

TEST(Endpoint, KnowsNoRouteOfOtherShapes) {
    EXPECT_EQ(endpoint_of("/v1/messages"), Endpoint::unknown);
    EXPECT_EQ(endpoint_of("/v1/responses"), Endpoint::unknown);
    EXPECT_EQ(endpoint_of("/token_counter"), Endpoint::unknown);
    EXPECT_EQ(endpoint_path(Endpoint::messages), "");
    EXPECT_EQ(endpoint_path(Endpoint::responses), "");
}

TEST(Endpoint, IgnoresOneTrailingSlash) {
    EXPECT_EQ(endpoint_of("/v1/chat/completions/"), Endpoint::chat_completions);
    EXPECT_EQ(endpoint_of("/v1/models/"), Endpoint::models);
    EXPECT_EQ(endpoint_of("/v1/models//"), Endpoint::unknown);
}

TEST(Endpoint, TakesWholeSegmentsOnly) {
    EXPECT_EQ(endpoint_of("/v1/xcompletions"), Endpoint::unknown);
    EXPECT_EQ(endpoint_of("/v1/my-embeddings"), Endpoint::unknown);
    EXPECT_EQ(endpoint_of("/v1/xchat/completions"), Endpoint::completions);
    EXPECT_EQ(endpoint_of("completions"), Endpoint::unknown);
    EXPECT_EQ(endpoint_of("/v1/models/gpt-4o"), Endpoint::unknown);
    EXPECT_EQ(endpoint_of("/v1/CHAT/completions"), Endpoint::completions);
    EXPECT_EQ(endpoint_of(""), Endpoint::unknown);
    EXPECT_EQ(endpoint_of("/"), Endpoint::unknown);
}

TEST(Endpoint, PathIsWhereItIsFoundAgain) {
    for (const Endpoint endpoint : {Endpoint::chat_completions, Endpoint::completions,
                                    Endpoint::embeddings, Endpoint::models,
                                    Endpoint::token_counter}) {
        EXPECT_EQ(endpoint_of(endpoint_path(endpoint)), endpoint);
    }
    EXPECT_EQ(endpoint_path(Endpoint::chat_completions), "/chat/completions");
    EXPECT_EQ(endpoint_path(Endpoint::unknown), "");
}

TEST(ClientDialect, IsAnthropicForMessagesAndBelow) {
    EXPECT_EQ(client_dialect("/v1/messages"), Dialect::anthropic);
    EXPECT_EQ(client_dialect("/v1/messages/"), Dialect::anthropic);
    EXPECT_EQ(client_dialect("/v1/messages/count_tokens"), Dialect::anthropic);
    EXPECT_EQ(client_dialect("/v1/chat/completions"), Dialect::openai);
    EXPECT_EQ(client_dialect("/v1/mymessages"), Dialect::openai);
    EXPECT_EQ(client_dialect("/v1/messagesx/y"), Dialect::openai);
    EXPECT_EQ(client_dialect(""), Dialect::openai);
}

}  // namespace
}  // namespace llm

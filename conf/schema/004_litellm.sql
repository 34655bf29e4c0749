-- The columns of LiteLLM_SpendLogs (BerriAI/litellm, schema.prisma), so that reports made for it go on
-- working: times are UTC without a zone, model is the deployment's and model_group the logical one.
-- What this gateway does not keep (prompts, answers, addresses) is empty, as there by default. A duration
-- is kept within its type: a clock that is set meanwhile can make it anything.

CREATE OR REPLACE VIEW litellm_spend_logs AS
SELECT request_id::text                                        AS request_id,
       CASE endpoint
           WHEN 'chat/completions' THEN 'acompletion'
           WHEN 'completions' THEN 'atext_completion'
           WHEN 'embeddings' THEN 'aembedding'
           ELSE endpoint
       END                                                     AS call_type,
       key_hash                                                AS api_key,
       (cost_nano_usd * 0.000000001::numeric)::float8          AS spend,
       prompt_tokens + completion_tokens                       AS total_tokens,
       prompt_tokens,
       completion_tokens,
       (started_at AT TIME ZONE 'UTC')::timestamp(3)           AS "startTime",
       (ended_at AT TIME ZONE 'UTC')::timestamp(3)             AS "endTime",
       least(greatest(extract(epoch FROM ended_at - started_at) * 1000, 0), 2147483647)::int
                                                               AS request_duration_ms,
       (started_at AT TIME ZONE 'UTC' + ttft_ms * interval '1 millisecond')::timestamp(3)
                                                               AS "completionStartTime",
       substr(deployment, length(provider) + 2)                AS model,
       deployment                                              AS model_id,
       model                                                   AS model_group,
       provider                                                AS custom_llm_provider,
       ''::text                                                AS api_base,
       "user",
       jsonb_build_object('user_api_key_alias', key_alias, 'user_api_key_team_id', team,
                          'user_api_key_user_id', "user", 'user_api_key_org_id', org,
                          'error_code', status, 'error_kind', error_kind)
                                                               AS metadata,
       CASE WHEN cache_hit THEN 'True' ELSE 'False' END        AS cache_hit,
       ''::text                                                AS cache_key,
       to_jsonb(tags)                                          AS request_tags,
       team                                                    AS team_id,
       org                                                     AS organization_id,
       customer                                                AS end_user,
       NULL::text                                              AS requester_ip_address,
       '{}'::jsonb                                             AS messages,
       '{}'::jsonb                                             AS response,
       NULL::text                                              AS session_id,
       CASE WHEN status < 400 THEN 'success' ELSE 'failure' END AS status,
       NULL::text                                              AS mcp_namespaced_tool_name,
       NULL::text                                              AS agent_id,
       '{}'::jsonb                                             AS proxy_server_request
FROM llm_spend;

INSERT INTO llm_schema_version (version) VALUES (4) ON CONFLICT DO NOTHING;

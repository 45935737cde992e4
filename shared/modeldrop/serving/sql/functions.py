"""The functions a statement may call, by the names they have in each database.

Only what computes from its arguments: no files, network, settings, sleep, sequences, random numbers, dynamic SQL, and
nothing that makes much from little (ranges, REPEAT, padding, formats with a width).
"""

from collections.abc import Mapping

from modeldrop.serving.sql.schema import Dialect

_COMMON = """
    abs avg cast ceil ceiling coalesce concat count cume_dist current_date current_timestamp dense_rank exp extract
    first_value floor lag last_value lead length ln log lower ltrim max min mod ntile nth_value nullif percent_rank
    power rank replace round row_number rtrim sign sqrt substr substring sum trim upper
"""
_MATH = "acos asin atan atan2 cos cot degrees log10 radians sin tan pi pow trunc"
_STATISTICS = """
    corr covar_pop covar_samp regr_slope regr_intercept regr_r2 stddev stddev_pop stddev_samp var_pop var_samp variance
"""

_NAMES: Mapping[Dialect, str] = {
    "bigquery": f"""{_COMMON} {_MATH} {_STATISTICS}
        any_value approx_count_distinct approx_quantiles approx_top_count array array_agg array_length array_to_string
        cbrt char_length countif current_datetime current_time date date_add date_diff date_sub date_trunc datetime
        datetime_add datetime_diff datetime_sub datetime_trunc ends_with format format_date format_datetime
        format_timestamp greatest ieee_divide if ifnull initcap instr is_inf is_nan json_extract_scalar json_query
        json_value last_day least left log10 logical_and logical_or lower offset ordinal parse_date parse_datetime
        parse_timestamp percentile_cont percentile_disc regexp_contains regexp_extract regexp_replace right safe_cast
        safe_divide safe_offset safe_ordinal split starts_with string_agg strpos struct time timestamp timestamp_add
        timestamp_diff timestamp_micros timestamp_millis timestamp_seconds timestamp_sub timestamp_trunc unix_date
        unix_micros unix_millis unix_seconds unnest""",
    "postgres": f"""{_COMMON} {_MATH} {_STATISTICS}
        age any_value array_agg array_length bool_and bool_or btrim cbrt char_length cardinality clock_timestamp
        date_bin date_part localtime localtimestamp now statement_timestamp timezone transaction_timestamp concat_ws
        date_trunc every greatest initcap json_extract_path_text jsonb_extract_path_text least left make_date mode
        percentile_cont percentile_disc position regexp_replace reverse right split_part starts_with string_agg strpos
        substring to_char to_date to_number to_timestamp unnest""",
    "duckdb": f"""{_COMMON} {_MATH} {_STATISTICS}
        age any_value approx_count_distinct current_localtime current_localtimestamp current_time get_current_timestamp
        localtime localtimestamp now today transaction_timestamp approx_quantile arg_max arg_min array_agg array_length
        bool_and bool_or cbrt concat_ws contains count_if date_diff date_part date_sub date_trunc datediff day dayname
        dayofweek dayofyear ends_with epoch even greatest hour if ifnull isnan isodow json_extract json_extract_string
        last_day least left len list list_contains listagg make_date max_by median min_by minute mode month monthname
        percentile_cont percentile_disc position quantile quantile_cont quantile_disc quarter regexp_extract
        regexp_full_match regexp_matches regexp_replace reverse right second split_part starts_with strftime string_agg
        string_split str_split strpos strptime to_timestamp try_cast typeof unnest week weekofyear year""",
    "sqlite": f"""{_COMMON} {_MATH}
        date datetime group_concat if ifnull iif instr json_extract julianday strftime string_agg time total typeof
        unicode unixepoch""",
}

ALLOWED_FUNCTIONS: Mapping[Dialect, frozenset[str]] = {
    dialect: frozenset(names.split()) for dialect, names in _NAMES.items()
}
"""Lower-case names. Whatever is not here is refused, also when a database adds it tomorrow."""

# Words that may stand before a parenthesis and are no functions; types among them (DECIMAL(10, 2), VARCHAR(20)).
_WORDS = """
    all and any array as between bignumeric by case cast char cube decimal distinct else end except exclude exists
    filter from group grouping having in ilike intersect is join like limit not numeric nvarchar offset on or over
    partition qualify rename replace rollup select sets similar then to union using values varchar when where with
    within struct date interval materialized text
"""
WORDS_BEFORE_PARENTHESIS = frozenset(_WORDS.split())

             epochs AS (
                 SELECT epoch, is_time, round(256 * (log2(nullif(sum(plays), 0))
                            - log2(if(is_time, 1, sum(impressions))))) AS steps,
                        2 ** (steps / 256) AS activity,
                        avg(activity) OVER (ORDER BY epoch
                            RANGE BETWEEN $guard + $days * $day_epochs PRECEDING
                                      AND $guard + 1 PRECEDING) AS mean
                 FROM trends, exposure GROUP BY epoch, is_time),
             own AS (
                 SELECT *, if(is_time, 1, impressions) AS units,
                        min(epoch) OVER (PARTITION BY video_id ORDER BY epoch
                            RANGE BETWEEN $guard + $days * $day_epochs PRECEDING
                                      AND $guard + 1 PRECEDING) AS first
                 FROM trends JOIN epochs USING (epoch)),
             -- The history of each row: k plays in epoch t, where an average video would have x.
             past AS (
                 SELECT own.video_id, own.epoch, t, own.epoch - t AS ago,
                        coalesce(trends.plays, 0) AS k,
                        if(own.is_time, 1, impressions) * coalesce(activity, 0) / own.mean AS x,
                        sum(k) OVER past AS past_k, sum(x) OVER past AS past_x,
                        if(own.is_time, past_k / past_x, any_value(own.mean) OVER past) AS common
                 FROM (SELECT video_id, epoch, is_time, mean,
                              unnest(range(first, epoch - $guard)) AS t FROM own) AS own
                 LEFT JOIN trends ON trends.video_id = own.video_id AND trends.epoch = t
                 LEFT JOIN epochs ON epochs.epoch = t
                 WHERE own.is_time OR impressions > 0
                 WINDOW past AS (PARTITION BY own.video_id, own.epoch)
                 QUALIFY count(*) OVER past >= $least_epochs AND past_k >= $least_plays),
             judged AS (
                 SELECT *, ($prior_plays + past_k) / ($prior_plays / common + past_x) * x AS rough,
                        (k - rough) ** 2 - rough AS excess,
                        greatest(sum(excess) OVER past / sum(rough ** 2) OVER past, 0) AS spread,
                        rough + spread * rough ** 2 AS variance
                 FROM past WINDOW past AS (PARTITION BY video_id, epoch)),
             kept AS (
                 FROM judged WHERE greatest(abs(k - rough) - 0.5, 0) ** 2 <= 16 * variance),
             habits AS (
                 SELECT video_id, epoch, any_value(common) AS common_rate, max(t) AS last,
                        sum(k) AS all_k, sum(x) AS all_x, sum(x ** 2) / all_x AS all_mean_x,
                        greatest(sum(excess) / sum(rough ** 2), 0) AS scatter,
                        ($prior_plays + all_k) / ($prior_plays / common_rate + all_x)
                            AS rough_rate,
                        1 / (1 + scatter * rough_rate * all_mean_x) AS all_worth,
                        ($prior_plays + all_worth * all_k)
                            / ($prior_plays / common_rate + all_worth * all_x) AS rate
                 FROM kept GROUP BY video_id, epoch),
             sizes AS (
                 SELECT $day_epochs AS day, greatest(day // 4, 1) AS quarter,
                        greatest(day // 16, 1) AS half, 2 * half + $guard AS before,
                        least(4, (day - 1) // 2) AS far, least(1, (day - 1) // 2) AS close),
             -- From here on, m plays are usual for a row. First, plain: without the time of day.
             members AS (
                 SELECT video_id, epoch, k, rate * x AS plain, scatter, last - t AS before_last,
                        ago - $guard - 1 AS age, ago % day AS slot,
                        least(slot, day - slot) AS apart, floor(t / day)::BIGINT & 1 AS odd
                 FROM kept JOIN habits USING (video_id, epoch) CROSS JOIN sizes WHERE x > 0),
             slots AS (
                 SELECT video_id, epoch, scatter, unnest(range(slot - far, slot + far + 1)) AS near,
                        sum(k) AS k, sum(plain) AS m, sum(plain ** 2) AS squares
                 FROM members CROSS JOIN sizes GROUP BY video_id, epoch, scatter, slot, far),
             times AS (
                 SELECT video_id, epoch, (near + $day_epochs) % $day_epochs AS slot,
                        1 / (1 + scatter * sum(squares) / sum(m)) AS worth,
                        1 / 0.03 + worth * sum(m) AS seen,
                        (1 / 0.03 + worth * sum(k)) / seen AS multiple, worth / seen AS pull
                 FROM slots GROUP BY video_id, epoch, scatter, (near + $day_epochs) % $day_epochs),
             timed AS (
                 SELECT members.*, plain * multiple AS timely, plain * pull AS slot_pull
                 FROM members JOIN times USING (video_id, epoch, slot)),
             -- How much plays scatter around the time of day and the level of a quarter of a day.
             fits AS (
                 SELECT video_id, epoch, sum(timely) OVER own AS quarter_m,
                        1 / (1 + scatter * sum(timely ** 2) OVER own / quarter_m) AS worth,
                        1 / 0.02 + worth * quarter_m AS seen,
                        timely * (1 / 0.02 + worth * sum(k) OVER own) / seen AS mean,
                        (k - mean) ** 2 / (1 - least(slot_pull + timely * worth / seen, 0.5))
                            AS squared
                 FROM timed CROSS JOIN sizes WHERE before_last < 3 * day
                 WINDOW own AS (PARTITION BY video_id, epoch, before_last // quarter)),
             grid(dispersion) AS (
                 SELECT unnest([0, 0.004, 0.012, 0.03, 0.07, 0.15, 0.3, 0.55]::DOUBLE[])),
             evidence AS (
                 SELECT video_id, epoch, dispersion, mean + dispersion * mean ** 2 AS variance,
                        mean / (1 + 2 * mean) * (ln(variance) + least(squared / variance, 40))
                            AS against
                 FROM habits CROSS JOIN grid LEFT JOIN fits USING (video_id, epoch)),
             likelihoods AS (
                 SELECT video_id, epoch, dispersion, coalesce(sum(against), 0) AS all_against,
                        exp(min(all_against) OVER own - all_against) AS likelihood,
                        least((avg(all_against) OVER own - min(all_against) OVER own) / 64, 1)
                            AS information
                 FROM evidence GROUP BY video_id, epoch, dispersion
                 WINDOW own AS (PARTITION BY video_id, epoch)),
             -- The habits of all videos, and what follows for each.
             shares AS (
                 SELECT epoch, dispersion, round(likelihood * information ** 2 * 2 ** 30
                     / sum(likelihood) OVER (PARTITION BY video_id, epoch))::BIGINT AS share
                 FROM likelihoods),
             priors AS (
                 SELECT epoch, dispersion, 1 + coalesce(96 * sum(share)
                     // nullif(sum(sum(share)) OVER (PARTITION BY epoch), 0), 0) AS prior
                 FROM shares GROUP BY epoch, dispersion),
             posteriors AS (
                 SELECT video_id, epoch, dispersion, prior * likelihood
                     / sum(prior * likelihood) OVER (PARTITION BY video_id, epoch) AS share
                 FROM likelihoods JOIN priors USING (epoch, dispersion)),
             scatters AS (
                 SELECT video_id, epoch, sum(share * dispersion) AS d
                 FROM posteriors GROUP BY video_id, epoch),
             rough AS (
                 SELECT epoch, 2 ** (round(256 * (log2(nullif(sum(round(plays * weight)), 0))
                            - log2(sum(round(usual * weight))))) / 256) AS rough_factor
                 FROM (SELECT epoch, plays, units * rough_rate AS usual,
                              2 ** 20 / (1 + 0.02 * usual) AS weight
                       FROM own JOIN habits USING (video_id, epoch))
                 GROUP BY epoch),
             -- Parts of the history of each factor: 0 for what is usual, 1 and 2 for how alike they
             -- are among videos. Of what changes after it (ahead), the history shows nothing.
             spans AS (
                 SELECT spans.* FROM sizes, (VALUES
                     ('level', 0, 1, 0, day, 0, day, NULL, false),
                     ('level', 1, 1, 0, day, 0, day, NULL, false),
                     ('level', 2, 1, day, 2 * day, 0, day, NULL, false),
                     ('near', 0, 1, 0, $days * day, 0, far, NULL, false),
                     ('near', 1, 1, 0, $days * day, 0, far, 0, false),
                     ('near', 2, 1, 0, $days * day, 0, far, 1, false),
                     ('next', 0, 1, 0, $days * day, 0, close, NULL, false),
                     ('next', 1, 2 / 3, 0, $days * day, 0, close, 0, false),
                     ('next', 1, -2 / 3, 0, $days * day, close + 1, far, 0, false),
                     ('next', 2, 2 / 3, 0, $days * day, 0, close, 1, false),
                     ('next', 2, -2 / 3, 0, $days * day, close + 1, far, 1, false),
                     ('lately', 0, 1, 0, quarter, 0, day, NULL, true),
                     ('lately', 1, 1, before, before + quarter, 0, day, NULL, true),
                     ('lately', 2, 1, 0, 2 * half, 0, day, NULL, true),
                     ('ahead', 0, 1, 0, 0, 0, day, NULL, true),
                     ('ahead', 1, 1, half, 2 * half, 0, day, NULL, true),
                     ('ahead', 2, 1, 0, half, 0, day, NULL, true),
                     ('before', 0, 1, before, before + day, 0, day, NULL, true)
                 ) AS spans(factor, part, share, newest, older, nearest, farthest, side, is_timed)),
             parts AS (
                 SELECT habits.video_id, habits.epoch, habits.scatter, factor, part, share,
                        coalesce(sum(k), 0) AS k,
                        coalesce(sum(if(is_timed, timely, plain)), 0) AS m,
                        coalesce(sum(if(is_timed, timely, plain) ** 2) / m, 0) AS mean_m
                 FROM habits CROSS JOIN spans LEFT JOIN timed
                   ON timed.video_id = habits.video_id AND timed.epoch = habits.epoch
                  AND age >= newest AND age < older AND apart BETWEEN nearest AND farthest
                  AND odd = coalesce(side, odd)
                 GROUP BY ALL),
             factors(factor, assumed) AS (
                 VALUES ('level', 0.02e0), ('near', 0.03e0), ('next', 0.01e0), ('lately', 0.005e0),
                        ('ahead', 0.0005e0)),
             -- What could be said of the last rows before, and how they deviate from it.
             leads AS (
                 SELECT video_id, epoch, 1 / (1 + day.scatter * day.mean_m) AS day_worth,
                        1 / 0.02 + day_worth * day.m AS day_seen,
                        (1 / 0.02 + day_worth * day.k) / day_seen AS level,
                        1 / (1 + part.scatter * level * part.mean_m) AS part_worth,
                        1 / 0.005 + part_worth * level * part.m AS part_seen,
                        level * (1 / 0.005 + part_worth * part.k) / part_seen AS level_lately
                 FROM parts AS day JOIN parts AS part USING (video_id, epoch)
                 WHERE day.factor = 'before' AND part.factor = 'lately' AND part.part = 1),
             sides AS (
                 SELECT video_id, epoch, factor, 1 / day_seen + 1 / part_seen AS lead_error,
                        CASE factor WHEN 'lately' THEN level WHEN 'ahead' THEN level_lately
                            ELSE 1 END AS scale,
                        sum(share * (k / (scale * m) - 1)) AS deviation,
                        sum(share ** 2 * (1 / scale + scatter * mean_m) / m) AS error
                 FROM parts JOIN leads USING (video_id, epoch) WHERE part > 0
                 GROUP BY video_id, epoch, factor, part, lead_error, scale HAVING min(m) > 0),
             likenesses AS (
                 SELECT epoch, factor, 65536 / product(error + assumed) AS weight,
                        weight * (greatest(least(product(deviation), 1), -1)
                            - if(factor = 'ahead', lead_error, 0)) AS weighted
                 FROM sides JOIN factors USING (factor)
                 GROUP BY video_id, epoch, factor, assumed, lead_error HAVING count(*) = 2),
             variances AS (
                 SELECT epoch, factor, 1 / assumed ** 2 AS assumed_weight,
                        (coalesce(sum(round(weighted)), 0) / 65536 + assumed_weight * assumed)
                            / (coalesce(sum(round(weight)), 0) / 65536 + assumed_weight)
                            AS variance,
                        2 ** (round(4 * log2(greatest(least(variance, 1), 1e-5))) / -4) AS prior
                 FROM rough CROSS JOIN factors LEFT JOIN likenesses USING (epoch, factor)
                 GROUP BY epoch, factor, assumed),
             known AS (
                 SELECT video_id, epoch, any_value(own) FILTER (factor = 'level') AS level,
                        any_value(own) FILTER (factor = 'near') AS near,
                        any_value(own) FILTER (factor = 'next') AS next,
                        any_value(own) FILTER (factor = 'lately') AS lately,
                        any_value(own) FILTER (factor = 'ahead') AS ahead
                 FROM (FROM parts JOIN variances USING (epoch, factor) WHERE part = 0) AS own
                 GROUP BY video_id, epoch),
             usual AS (
                 SELECT *, 1 / (1 + d * rough_rate * all_mean_x) AS worth,
                        $prior_plays + worth * all_k AS seen,
                        seen / ($prior_plays / common_rate + worth * all_x) / rate AS base,
                        1 / (1 + d * base * level.mean_m) AS level_worth,
                        level.prior + level_worth * base * level.m AS level_seen,
                        base * (level.prior + level_worth * level.k) / level_seen AS level_base,
                        1 / (1 + d * base * near.mean_m) AS near_worth,
                        near.prior + near_worth * base * near.m AS near_seen,
                        base * (near.prior + near_worth * near.k) / near_seen AS near_base,
                        1 / (1 + d * near_base * next.mean_m) AS next_worth,
                        next.prior + next_worth * near_base * next.m AS next_seen,
                        near_base * (next.prior + next_worth * next.k) / next_seen AS next_base,
                        1 / (1 + d * level_base * lately.mean_m) AS lately_worth,
                        lately.prior + lately_worth * level_base * lately.m AS lately_seen,
                        level_base * (lately.prior + lately_worth * lately.k) / lately_seen
                            AS lately_base,
                        1 / seen + 1 / level_seen + 1 / near_seen + 1 / next_seen
                            + 1 / lately_seen + 1 / ahead.prior AS error,
                        units * rate * next_base * lately_base / base AS usual_plays,
                        usual_plays * rough_factor AS likely,
                        3 * sqrt(likely + (d + error) * likely ** 2) + 1 AS reach,
                        2 ** 20 / (1 + 0.02 * usual_plays) AS weight,
                        round(least(greatest(plays, likely - reach), likely + reach) * weight)
                            AS own_plays,
                        round(usual_plays * weight) AS own_usual
                 FROM own JOIN habits USING (video_id, epoch) JOIN known USING (video_id, epoch)
                 JOIN scatters USING (video_id, epoch) JOIN rough USING (epoch)),
             -- What all videos have in common in an epoch.
             sums AS (
                 SELECT epoch, log2(sum(own_usual)) AS logarithm,
                        2 ** (floor((round(256 * logarithm) + 8) / 16) / 16) AS all_usual,
                        2 ** (round(256 * (log2(nullif(sum(own_plays), 0)) - logarithm)) / 256)
                            * all_usual AS all_plays
                 FROM usual GROUP BY epoch),
             expected AS (
                 SELECT video_id, epoch, plays AS k, error, all_plays - own_plays AS others_plays,
                        error + 2 ** 20 / others_plays AS whole_error,
                        if(is_time, 'inf'::DOUBLE, impressions) AS trials,
                        least(others_plays / (all_usual - own_usual) * usual_plays, 0.98 * trials)
                            AS m
                 FROM usual JOIN sums USING (epoch)
                 WHERE all_usual > own_usual
                   AND all_plays - own_plays >= $least_plays * 2 ** 20),
             -- Tails of (negative) binomial distributions, by continued fractions.
             counts AS (
                 SELECT *, dispersion + whole_error AS relative,
                        relative - (1 + relative) / trials AS psi, (psi < 0)::INT AS one,
                        1 / greatest(abs(psi), 1e-7) AS size,
                        if(psi < 0, greatest(size - k, 0) + 1, size) AS n,
                        if(psi < 0, m / greatest(size, k), m / (m + size)) AS p,
                        exp(lgamma(k + n) - lgamma(k + 1) - lgamma(n)
                            + k * ln(p) + (n - one) * ln(1 - p)) AS here,
                        k >= m AS is_high, if(is_high, k + 1, n) AS a,
                        if(is_high, n - one, k) AS b, if(is_high, p, 1 - p) AS y,
                        CASE WHEN psi < 0 THEN b * y WHEN is_high THEN (k + n) * y ELSE k END / a
                            AS front
                 FROM expected JOIN posteriors USING (video_id, epoch) WHERE share > 1e-5),
             tails AS (
                 SELECT *, here * (0.5 + front / list_reduce(range(200, -1, -1)::DOUBLE[],
                            lambda f, i: 1 - (a + i) * (a + b + i) * y / (a + 2 * i)
                                / (a + 2 * i + 1) / (1 + (i + 1) * (b - i - 1) * y
                                / (a + 2 * i + 1) / (a + 2 * i + 2) / f), 1::DOUBLE)) AS tail,
                        share * if(is_high, tail, 1 - tail) AS above,
                        share * if(is_high, 1 - tail, tail) AS below
                 FROM counts),
             mixed AS (
                 SELECT video_id, epoch, k AS plays, m, sum(below) / sum(share) AS lower,
                        sum(above) / sum(share) AS upper, lower - 0.5 AS q,
                        least(error * m ** 2 / sum(share * (m + psi * m ** 2)), 1) AS shared,
                        sqrt(-ln(greatest(least(lower, upper), 2.2250738585072014e-308))) AS root,
                        CASE WHEN abs(q) <= 0.425 THEN 'center' WHEN root <= 5 THEN 'tail'
                             ELSE 'far' END AS region,
                        CASE region WHEN 'center' THEN 0.180625 - q * q
                             WHEN 'tail' THEN root - 1.6 ELSE root - 5 END AS y
                 FROM tails GROUP BY video_id, epoch, k, m, error),
             -- AS 241: rational functions, their coefficients from the highest power on.
             quantiles(region, numerator, denominator) AS (VALUES
                 ('center',
                  [2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987,
                   13731.69376550946, 1971.5909503065513, 133.14166789178438,
                   3.3871328727963665]::DOUBLE[],
                  [5226.495278852854, 28729.085735721943, 39307.89580009271, 21213.794301586597,
                   5394.196021424751, 687.1870074920579, 42.31333070160091, 1]::DOUBLE[]),
                 ('tail',
                  [7.745450142783414e-4, 0.022723844989269184, 0.2417807251774506,
                   1.2704582524523684, 3.6478483247632045, 5.769497221460691, 4.630337846156546,
                   1.4234371107496835],
                  [1.0507500716444169e-9, 5.475938084995345e-4, 0.015198666563616457,
                   0.14810397642748008, 0.6897673349851, 1.6763848301838038, 2.053191626637759, 1]),
                 ('far',
                  [2.0103343992922881e-7, 2.7115555687434876e-5, 1.2426609473880784e-3,
                   0.026532189526576124, 0.29656057182850487, 1.7848265399172913,
                   5.463784911164114, 6.657904643501103],
                  [2.0442631033899398e-15, 1.421511758316446e-7, 1.8463183175100548e-5,
                   7.868691311456133e-4, 0.014875361290850615, 0.1369298809227358,
                   0.599832206555888, 1])),
             scores AS (
                 SELECT video_id, epoch, plays, round(1000 * m)::BIGINT AS expected_plays,
                        round(1000 * if(region = 'center', q, sign(q))
                            * list_reduce(numerator, lambda sum, term: sum * y + term)
                            / list_reduce(denominator, lambda sum, term: sum * y + term))::BIGINT
                            AS score,
                        greatest(least(score, 8000), -8000) AS bounded, shared
                 FROM mixed JOIN quantiles USING (region)),
             recent AS (
                 SELECT own.video_id, own.epoch, t, 2 ** ((t - own.epoch) / $half_life) AS weight,
                        bounded, shared
                 FROM (SELECT video_id, epoch,
                              unnest(range(epoch - $recent + 1, epoch + 1)) AS t FROM scores) AS own
                 LEFT JOIN scores ON scores.video_id = own.video_id AND scores.epoch = t),
             together AS (
                 SELECT video_id, epoch,
                        round(sum(weight * bounded) / sqrt(sum(weight ** 2 * (1 - shared))
                            + sum(weight * sqrt(shared)) ** 2))::BIGINT AS momentum,
                        list_reduce(
                            list({'sum': coalesce(bounded, 0) - 1500, 'since': t} ORDER BY t),
                            lambda rise, next: if(rise.sum + next.sum > 0,
                                {'sum': rise.sum + next.sum,
                                 'since': coalesce(rise.since, next.since)},
                                {'sum': 0, 'since': NULL}),
                            {'sum': 0, 'since': NULL}).since AS since
                 FROM recent GROUP BY video_id, epoch)
        SELECT video_id, epoch, plays, expected_plays, score, momentum, since
        FROM scores JOIN together USING (video_id, epoch)

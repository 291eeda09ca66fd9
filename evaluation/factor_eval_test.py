#!/usr/bin/python3
"""factor-eval, from its flags to its output, its files and its exit code.

  factor_eval_test.py BINARY RATINGS
"""

import csv
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

BINARY, RATINGS = sys.argv[1:3]


def run(*arguments):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=120)


def objects(*arguments):
    """The objects that --json prints, which is all of standard output."""
    done = run("--json", *arguments)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def without_clocks(values):
    clocks = ("seconds", "ratings_per_second", "seconds_deviation", "ratings_per_second_deviation")
    return {name: value for name, value in values.items() if name not in clocks}


def read_ratings(path):
    with open(path, encoding="utf-8", newline="") as file:
        return [(user, item, float(rating), int(time))
                for user, item, rating, time in list(csv.reader(file))[1:]]


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def write_ratings(self, name, ratings):
        lines = [",".join(map(str, rating)) for rating in ratings]
        return self.write(name, "userId,movieId,rating,timestamp\n" + "\n".join(lines) + "\n")

    def assert_same(self, one, other):
        # assertEqual would take minutes to say how long lists differ.
        self.assertEqual(len(one), len(other))
        for pair in zip(one, other):
            self.assertEqual(*pair)

    def predictions(self, name="predictions"):
        with open(self.path(name), encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        self.assertEqual(rows[0], ["user", "item", "prediction"])
        return [(user, item, float(prediction)) for user, item, prediction in rows[1:]]


class Json(Files):
    def test_every_measure_is_there(self):
        (got,) = objects(f"--data={RATINGS}", "--split=last-out")
        for name in ("error_percent", "mae", "rmse", "seconds", "prequential_mae", "recall", "ndcg"):
            self.assertGreater(got[name], 0, name)
        self.assertEqual((got["method"], got["split"], got["seed"], got["top"]),
                         ("online", "last-out", 1, 10))
        self.assertEqual((got["min_rating"], got["max_rating"]), (0, 5))
        self.assertEqual(got["train_events"] + got["test_events"], 100_004)
        self.assertEqual(got["test_events"], 671)

    def test_recall_is_of_the_last_out_alone(self):
        (got,) = objects(f"--data={RATINGS}")
        self.assertNotIn("recall", got)
        self.assertNotIn("ndcg", got)
        self.assertEqual(got["split"], "random")

    def test_given_parts_are_ranked_where_each_user_has_one_item(self):
        ratings = sorted(read_ratings(RATINGS), key=lambda rating: rating[3])
        last = {rating[0]: rating for rating in ratings}
        test = [rating for rating in ratings if last[rating[0]] is rating]
        train = [rating for rating in ratings if last[rating[0]] is not rating]
        train_path, test_path = self.write_ratings("train", train), self.write_ratings("test", test)
        arguments = [f"--train={train_path}", f"--test={test_path}"]
        (got,) = objects(*arguments)
        (divided,) = objects(f"--data={RATINGS}", "--split=last-out")
        divided.pop("split")
        self.assertEqual(without_clocks(got), without_clocks(divided))
        self.assertNotIn("recall", objects(*arguments, "--top=0")[0])
        two = self.write_ratings("two", [*test, train[-1]])
        (got,) = objects(f"--train={train_path}", f"--test={two}")
        self.assertNotIn("recall", got)

    def test_methods_come_in_the_order_of_the_flag(self):
        got = objects(f"--data={RATINGS}", "--split=time", "--method=popularity,online,biases")
        self.assertEqual([one["method"] for one in got], ["popularity", "online", "biases"])
        self.assertIsNone(got[0]["prequential_mae"])
        self.assertEqual(got[1]["test_events"], 20_001)

    def test_nothing_held_out(self):
        (got,) = objects(f"--data={RATINGS}", "--split=none")
        for name in ("error_percent", "mae", "rmse"):
            self.assertIsNone(got[name], name)
        self.assertEqual((got["train_events"], got["test_events"]), (100_004, 0))
        self.assertAlmostEqual(got["prequential_mae"], 0.660, delta=0.005)

    def test_the_same_seed_is_the_same_output(self):
        arguments = [f"--data={RATINGS}", "--method=online,pa", "--passes=2"]
        one, same = objects(*arguments), objects(*arguments)
        other = objects(*arguments, "--seed=2")
        for i in range(2):
            self.assertEqual(without_clocks(one[i]), without_clocks(same[i]))
            self.assertNotEqual(one[i]["mae"], other[i]["mae"])

    def test_repeats_are_the_seeds_that_follow(self):
        arguments = [f"--data={RATINGS}", "--method=biases"]
        (got,) = objects(*arguments, "--repeat=3", "--seed=4")
        values = [objects(*arguments, f"--seed={seed}")[0]["mae"] for seed in (4, 5, 6)]
        self.assertEqual(got["values"]["mae"], values)
        self.assertEqual(len(set(values)), 3)  # other ratings are held out
        mean = sum(values) / 3
        self.assertAlmostEqual(got["mae"], mean, places=12)
        self.assertAlmostEqual(got["mae_deviation"],
                               math.sqrt(sum((value - mean) ** 2 for value in values) / 2), places=12)

    def test_a_stream_that_is_sent_again_is_learned_better(self):
        def mae(*arguments):
            return objects(f"--data={RATINGS}", *arguments)[0]["mae"]
        self.assertLess(mae("--passes=4"), mae("--passes=2"))
        self.assertLess(mae("--passes=2"), mae())

    def test_tuning_says_what_it_chose(self):
        ratings = read_ratings(RATINGS)[:3000]
        path = self.write_ratings("few", ratings)
        got = objects(f"--data={path}", "--method=pa,coordinate-descent", "--tune", "--rank=4")
        self.assertIn("aggressiveness", got[0])
        self.assertNotIn("l2", got[0])
        self.assertIn("l2", got[1])

    def test_tuning_on_the_last_quarter_of_what_has_an_order(self):
        # The last quarter of the training ratings is the opposite of those before, so that a large
        # penalty is best there. A random quarter is like the rest.
        ratings = [(f"u{n % 40}", f"i{n * 7 % 60}", 5 if (n % 40 + n * 7 % 60) % 2 == 0 else 1, n)
                   for n in range(3000)]
        turned = [(user, item, 6 - rating if 1800 <= time < 2400 else rating, time)
                  for user, item, rating, time in ratings]
        path = self.write_ratings("turned", turned)
        train, test = self.write_ratings("train", turned[:2400]), self.write_ratings("test", turned[2400:])

        def chosen(*arguments):
            return objects("--method=coordinate-descent", "--tune", "--rank=4", *arguments)[0]["l2"]
        by_time = chosen(f"--data={path}", "--split=time")
        self.assertEqual(chosen(f"--train={train}", f"--test={test}"), by_time)
        for seed in (2, 3):
            self.assertEqual(chosen(f"--data={path}", "--split=time", f"--seed={seed}"), by_time)
        self.assertGreater(by_time, chosen(f"--data={path}"))

    def test_what_each_seed_chose(self):
        path = self.write_ratings("few", read_ratings(RATINGS)[:3000])
        arguments = [f"--data={path}", "--method=pa,coordinate-descent", "--tune", "--rank=4"]
        got = objects(*arguments, "--repeat=6")
        for i, name in ((0, "aggressiveness"), (1, "l2")):
            single = [objects(*arguments, f"--seed={seed}")[i][name] for seed in range(1, 7)]
            self.assertEqual(got[i]["values"][name], single)
            self.assertAlmostEqual(got[i][name], sum(single) / 6)
            self.assertIn(f"{name}_deviation", got[i])
        chosen = got[1]["values"]["l2"]
        self.assertGreater(len(set(chosen)), 1)
        table = run(*arguments, "--repeat=6").stdout
        self.assertIn("l2=" + ",".join(f"{value:g}" for value in chosen), table)

    def test_events_of_a_type(self):
        (got,) = objects(f"--data={RATINGS}", "--split=last-out", "--event_type=click:2")
        self.assertEqual(got["event_type"], "click:2:1")
        self.assertGreater(got["recall"], 0)

    def test_events_of_a_type_have_no_errors_of_ratings(self):
        errors = ("error_percent", "mae", "rmse", "prequential_mae", "prequential_rmse",
                  "prequential_mae_second_half", "passive_share")
        arguments = [f"--data={RATINGS}", "--split=last-out", "--method=online,biases"]
        (ratings, _) = objects(*arguments)
        self.assertLess(set(errors), set(ratings))
        for got in objects(*arguments, "--event_type=click", "--repeat=2"):
            self.assertGreater(got["recall"], 0)
            for name in errors:
                self.assertNotIn(name, got)
                self.assertNotIn(f"{name}_deviation", got)
                self.assertNotIn(name, got["values"])
        table = run(*arguments, "--event_type=click").stdout
        self.assertEqual(table.split()[:4], ["method", "recall", "ndcg", "coverage"])

    def test_replay_and_passes_over_histories(self):
        (once,) = objects(f"--data={RATINGS}")
        (replayed,) = objects(f"--data={RATINGS}", "--replay=3")
        (passes,) = objects(f"--data={RATINGS}", "--over_histories", "--passes=5")
        self.assertEqual(replayed["replay"], 3)
        self.assertLess(replayed["mae"], once["mae"])
        self.assertLess(passes["mae"], once["mae"])

    def test_offset_and_attraction(self):
        (usual,) = objects(f"--data={RATINGS}")
        self.assertNotIn("offset", usual)
        (got,) = objects(f"--data={RATINGS}", "--offset=0.1", "--attraction=0")
        self.assertAlmostEqual(got["offset"], 0.1)
        self.assertEqual(got["attraction"], 0)
        self.assertNotEqual(got["mae"], usual["mae"])
        self.assertAlmostEqual(got["mae"], usual["mae"], delta=0.01)


class Predictions(Files):
    def measure(self, ratings, predictions):
        self.assertEqual(len(ratings), len(predictions))
        errors = [abs(rating - predicted) for rating, predicted in zip(ratings, predictions)]
        return {"mae": sum(errors) / len(errors),
                "rmse": math.sqrt(sum(error * error for error in errors) / len(errors)),
                "error_percent": 100 * sum(errors) / sum(ratings)}

    def test_every_measure_can_be_recomputed(self):
        rating_of = {(user, item): rating for user, item, rating, _ in read_ratings(RATINGS)}
        for split in ("random", "time", "last-out"):
            for method in ("online", "coordinate-descent"):
                (got,) = objects(f"--data={RATINGS}", f"--split={split}", f"--method={method}",
                                 f"--predictions={self.path('predictions')}")
                rows = self.predictions()
                self.assertEqual(len(rows), got["test_events"])
                measured = self.measure([rating_of[user, item] for user, item, _ in rows],
                                        [predicted for _, _, predicted in rows])
                for name, value in measured.items():  # nine digits are written
                    self.assertAlmostEqual(got[name], value, delta=1e-7, msg=f"{split} {method} {name}")

    def test_prequential_measures_can_be_recomputed(self):
        ratings = sorted(read_ratings(RATINGS), key=lambda rating: rating[3])
        rating_of = {(user, item): rating for user, item, rating, _ in ratings}
        for method in ("online", "online-pa-1"):
            arguments = [f"--data={RATINGS}", "--split=none", f"--method={method}", "--passes=2"]
            (got,) = objects(*arguments, f"--predictions={self.path('predictions')}")
            rows = self.predictions()
            self.assert_same([row[:2] for row in rows], [rating[:2] for rating in ratings])
            measured = self.measure([rating_of[user, item] for user, item, _ in rows],
                                    [predicted for _, _, predicted in rows])
            for name in ("mae", "rmse"):
                self.assertAlmostEqual(got[f"prequential_{name}"], measured[name], delta=1e-7,
                                       msg=f"{method} {name}")
            # Writing them changes nothing that is measured.
            (usual,) = objects(*arguments)
            self.assertEqual(without_clocks(got), without_clocks(usual))

    def test_other_methods_predict_nothing_before_they_learn(self):
        objects(f"--data={RATINGS}", "--split=none", "--method=pa",
                f"--predictions={self.path('predictions')}")
        self.assertEqual(self.predictions(), [])
        # Nor is there a stream to predict where a split happens to hold nothing out.
        few = self.write("few.csv", "1,a,4\n2,a,5\n2,b,3\n")
        objects(f"--data={few}", f"--predictions={self.path('predictions')}")
        self.assertEqual(self.predictions(), [])

    def test_the_time_split_is_the_newest_fifth(self):
        ratings = sorted(read_ratings(RATINGS), key=lambda rating: rating[3])
        objects(f"--data={RATINGS}", "--split=time", f"--predictions={self.path('predictions')}")
        self.assert_same([row[:2] for row in self.predictions()],
                         [rating[:2] for rating in ratings[round(0.8 * len(ratings)):]])

    def test_train_and_test(self):
        ratings = sorted(read_ratings(RATINGS), key=lambda rating: rating[3])
        train = self.write_ratings("train", ratings[:80_003])
        test = self.write_ratings("test", ratings[80_003:])
        (given,) = objects(f"--train={train}", f"--test={test}",
                           f"--predictions={self.path('given')}")
        (divided,) = objects(f"--data={RATINGS}", "--split=time",
                             f"--predictions={self.path('divided')}")
        self.assertNotIn("split", given)
        self.assertEqual(given["mae"], divided["mae"])
        self.assert_same(self.predictions("given"), self.predictions("divided"))
        # In the file's order: another one gives another model.
        backwards = self.write_ratings("backwards", reversed(ratings[:80_003]))
        (other,) = objects(f"--train={backwards}", f"--test={test}")
        self.assertNotEqual(other["mae"], given["mae"])

    def test_the_last_method_and_seed_are_written(self):
        objects(f"--data={RATINGS}", "--method=online,biases", "--repeat=2",
                f"--predictions={self.path('both')}")
        objects(f"--data={RATINGS}", "--method=biases", "--seed=2",
                f"--predictions={self.path('last')}")
        self.assert_same(self.predictions("both"), self.predictions("last"))


class Recommendations(Files):
    def recommendations(self, name="recommendations"):
        with open(self.path(name), encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        self.assertEqual(rows[0], ["user", "rank", "item"])
        return [(user, int(rank), item) for user, rank, item in rows[1:]]

    def test_every_measure_can_be_recomputed(self):
        last = {}
        for rating in sorted(read_ratings(RATINGS), key=lambda rating: rating[3]):
            last[rating[0]] = rating[1]
        for method in ("online", "popularity"):
            (got,) = objects(f"--data={RATINGS}", "--split=last-out", f"--method={method}", "--top=20",
                             f"--recommendations={self.path('recommendations')}")
            rows = self.recommendations()
            found = [rank for user, rank, item in rows if last[user] == item]
            self.assertEqual(got["recall"], len(found) / len(last))
            self.assertAlmostEqual(got["ndcg"], sum(1 / math.log2(1 + rank) for rank in found) / len(last),
                                   places=12)
            self.assertEqual(got["coverage"], len({item for _, _, item in rows}))
            for user in last:
                self.assertEqual([rank for other, rank, _ in rows if other == user],
                                 list(range(1, 21)))

    def test_the_last_method_and_seed_are_written(self):
        arguments = [f"--data={RATINGS}", "--split=last-out"]
        objects(*arguments, "--method=popularity,online", "--repeat=2",
                f"--recommendations={self.path('both')}")
        objects(*arguments, "--seed=2", f"--recommendations={self.path('last')}")
        self.assert_same(self.recommendations("both"), self.recommendations("last"))

    def test_given_parts_with_one_item_a_user(self):
        train = self.write("train.csv", "1,a,5,1\n2,a,4,2\n2,b,3,3\n3,c,5,4\n")
        test = self.write("test.csv", "1,b,5,5\n4,a,5,6\n2,c,4,7\n")
        objects(f"--train={train}", f"--test={test}", "--method=popularity",
                f"--recommendations={self.path('recommendations')}")
        # User 4 is not in the training ratings.
        self.assertEqual(self.recommendations(), [("1", 1, "b"), ("1", 2, "c"), ("2", 1, "c")])


    def test_ranking_by_rating(self):
        arguments = [f"--data={RATINGS}", "--split=last-out"]
        (usual,) = objects(*arguments)
        self.assertEqual(without_clocks(objects(*arguments, "--rank_by=score")[0]),
                         without_clocks(usual))
        self.assertNotIn("rank_by", usual)
        (got,) = objects(*arguments, "--rank_by=rating",
                         f"--recommendations={self.path('recommendations')}")
        self.assertEqual(got["rank_by"], "rating")
        self.assertEqual(got["mae"], usual["mae"])
        self.assertLess(got["recall"], usual["recall"])
        self.assertEqual(got["coverage"], len({item for _, _, item in self.recommendations()}))
        self.assertEqual(len(self.recommendations()), 10 * got["test_events"])


class Ids(Files):
    """Ids that hold what separates the fields of CSV."""

    USERS = ("Smith, A.", 'the "boss"')
    ITEMS = ("Saint, The", '5" disk', "plain", 'a "b", c')

    def odd_ratings(self):
        # The second user's last rating is the first of the file.
        lines = [f"{user}\t{item}\t{1 + (i + j) % 5}\t{10 + (j if i == 0 else -j)}"
                 for i, user in enumerate(self.USERS) for j, item in enumerate(self.ITEMS)]
        return self.write("odd.data", "\n".join(lines) + "\n")

    def test_predictions(self):
        path = self.odd_ratings()
        objects(f"--train={path}", f"--test={path}", f"--predictions={self.path('predictions')}")
        self.assertEqual([row[:2] for row in self.predictions()],
                         [(user, item) for user in self.USERS for item in self.ITEMS])

    def test_recommendations(self):
        recommendations = self.path("recommendations")
        objects(f"--data={self.odd_ratings()}", "--split=last-out",
                f"--recommendations={recommendations}")
        with open(recommendations, encoding="utf-8", newline="") as file:
            rows = sorted(list(csv.reader(file))[1:])
        self.assertEqual(rows, [[self.USERS[0], "1", self.ITEMS[3]],
                                [self.USERS[1], "1", self.ITEMS[0]]])

    def test_factors(self):
        factors = self.path("factors")
        objects(f"--data={self.odd_ratings()}", "--rank=3", f"--factors={factors}")
        with open(factors, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        self.assertEqual([row[0] for row in rows], list(self.ITEMS))
        self.assertEqual({len(row) for row in rows}, {4})


class Output(Files):
    def test_the_table_has_a_line_a_method(self):
        done = run(f"--data={RATINGS}", "--method=online,popularity", "--split=last-out")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [line.split() for line in done.stdout.splitlines()]
        self.assertEqual(lines[0][:5], ["method", "error_percent", "mae", "rmse", "prequential_mae"])
        self.assertEqual([line[0] for line in lines[1:]], ["online", "popularity"])
        self.assertEqual(lines[2][4], "-")

    def test_the_plot_is_xml_with_a_line_a_method(self):
        plot = self.path("plot.svg")
        objects(f"--data={RATINGS}", "--method=online,biases", "--passes=3", f"--plot={plot}")
        root = xml.etree.ElementTree.parse(plot).getroot()
        svg = "{http://www.w3.org/2000/svg}"
        self.assertEqual(root.tag, f"{svg}svg")
        self.assertEqual(len(root.findall(f"{svg}polyline")), 2)
        self.assertEqual(len(root.findall(f"{svg}circle")), 6)
        objects(f"--data={RATINGS}", "--split=none", f"--plot={plot}")
        self.assertEqual(xml.etree.ElementTree.parse(plot).getroot().findall(f"{svg}circle"), [])

    def test_factors_and_topics(self):
        factors = self.path("factors")
        for method in ("coordinate-descent", "online"):
            done = run(f"--data={RATINGS}", f"--method={method}", "--rank=3", "--topics=2",
                       f"--factors={factors}")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout.count("factor "), 3)
            with open(factors, encoding="utf-8", newline="") as file:
                rows = list(csv.reader(file))
            self.assertEqual(len(rows), 9066)
            self.assertEqual({len(row) for row in rows}, {4})
            self.assertTrue(all(float(value) >= 0 for row in rows for value in row[1:]))

    def test_other_ranges(self):
        ratings = [(user, item, 10 + 2 * rating, time)
                   for user, item, rating, time in read_ratings(RATINGS)[:5000]]
        path = self.write_ratings("scaled", ratings)
        (got,) = objects(f"--data={path}")
        self.assertEqual((got["min_rating"], got["max_rating"]), (11, 20))
        (got,) = objects(f"--data={path}", "--min_rating=0", "--max_rating=40")
        self.assertEqual((got["min_rating"], got["max_rating"]), (0, 40))


class Parts(Files):
    """tools/parts.py, which writes what docs/parts.md shows."""

    def test_topics_and_parts(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tools/parts.py")
        svg = self.path("parts.svg")
        done = subprocess.run([script, BINARY, svg], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| ")]
        topics, parts = rows[1:11], rows[12:]
        self.assertEqual({len(set(row[1].split(", "))) for row in topics}, {10})
        self.assertEqual({row[1].strip() for row in parts},
                         {"top", "upper left", "upper right", "middle", "lower left", "lower right",
                          "bottom"})
        for row in parts:
            self.assertGreater(float(row[2].strip(" %")), 95)
        root = xml.etree.ElementTree.parse(svg).getroot()
        self.assertEqual(len(root), 14)  # seven pictures, seven factors


class Refusals(Files):
    def refused(self, code, parts, *arguments):
        done = run(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertTrue(done.stderr.startswith("factor-eval: "), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)
        return done

    def test_input(self):
        missing = self.path("missing.csv")
        self.refused(2, [missing, "No such file"], f"--data={missing}")
        self.refused(2, [missing], f"--train={RATINGS}", f"--test={missing}")
        self.refused(2, ["is a folder"], f"--data={self.folder}")
        bad = self.write("bad.csv", "userId,movieId,rating\n1,2,3\n\n1,3,much\n")
        self.refused(2, [f"{bad}:4: ", "much"], f"--data={bad}")
        self.refused(2, [f"{bad}:4: "], f"--train={RATINGS}", f"--test={bad}")
        short = self.write("short.csv", "1,2,3\n1,2\n")
        self.refused(2, [f"{short}:2: "], f"--data={short}")
        header = self.write("header.csv", "userId,weight,colour\n1,2,3\n")
        self.refused(2, [header], f"--data={header}")
        empty = self.write("empty.csv", "")
        self.refused(2, [empty, "no ratings"], f"--data={empty}")
        self.refused(2, [empty], f"--train={RATINGS}", f"--test={empty}")

    def test_ranges(self):
        self.refused(2, ["0.5 to 5", "--max_rating"], f"--data={RATINGS}", "--max_rating=4")
        self.refused(2, ["0.5 to 5", "--min_rating"], f"--data={RATINGS}", "--min_rating=1")
        equal = self.write("equal.csv", "1,2,7\n1,3,7\n2,3,7\n2,4,7\n")
        for method in ("online", "biases", "pa"):
            self.refused(2, ["--min_rating (7)"], f"--data={equal}", f"--method={method}")
        negative = self.write("negative.csv", "1,2,-1\n1,3,1\n2,3,1\n2,4,1\n")
        self.refused(2, ["rating"], f"--data={negative}")

    def test_flags(self):
        self.refused(2, ["--data", "--train", "--test"])
        self.refused(2, ["--data", "--train", "--test"], f"--train={RATINGS}")
        for others in ([f"--train={RATINGS}"], [f"--test={RATINGS}"],
                       [f"--train={RATINGS}", f"--test={RATINGS}"]):
            self.refused(2, ["--data", "--train", "--test", "not both"], f"--data={RATINGS}", *others)
        self.refused(2, ["unexpected argument"], f"--data={RATINGS}", "more")
        for name in ("svd", "online-x", "online,,pa"):
            self.refused(2, ["method", "biases", "; is '"], f"--data={RATINGS}", f"--method={name}")
        self.refused(2, ["method"], f"--data={RATINGS}", "--method=")
        self.refused(2, ["passes"], f"--data={RATINGS}", "--passes=0")
        self.refused(2, ["repeat"], f"--data={RATINGS}", "--repeat=0")
        self.refused(2, ["rank"], f"--data={RATINGS}", "--rank=0")
        self.refused(2, ["offset must be > 0"], f"--data={RATINGS}", "--offset=0")
        self.refused(2, ["is not name"], f"--data={RATINGS}", "--event_type=click:")
        self.refused(2, ["give one"], f"--data={RATINGS}", "--event_type=click,view")
        self.refused(2, ["replay must be"], f"--data={RATINGS}", "--replay=17")
        self.refused(2, ["attraction must be 0 to 1"], f"--data={RATINGS}", "--attraction=1.1")
        self.refused(2, ["split", "last-out"], f"--data={RATINGS}", "--split=half")
        self.refused(2, ["zeros"], f"--data={RATINGS}", "--zeros=some")
        self.refused(2, ["zeros"], f"--data={RATINGS}", "--zeros=observed", "--method=pa")
        self.refused(2, ["tune", "biases"], f"--data={RATINGS}", "--method=biases", "--tune")
        self.refused(2, ["rank_by", "score or rating"], f"--data={RATINGS}", "--rank_by=mood")
        self.refused(2, ["rank_by", "online"], f"--data={RATINGS}", "--method=online,popularity",
                     "--rank_by=rating")
        self.refused(2, ["rank_by", "event_type"], f"--data={RATINGS}", "--rank_by=rating",
                     "--event_type=click")
        recommendations = f"--recommendations={self.path('recommendations')}"
        for split in ("random", "time", "none"):
            self.refused(2, ["recommendations", "--split=last-out"], f"--data={RATINGS}",
                         f"--split={split}", recommendations)
        self.refused(2, ["recommendations", "--test"], f"--train={RATINGS}", f"--test={RATINGS}",
                     recommendations)
        self.refused(2, ["recommendations", "--top"], f"--data={RATINGS}", "--split=last-out",
                     "--top=0", recommendations)
        self.assertFalse(os.path.exists(self.path("recommendations")))
        self.assertNotEqual(run(f"--data={RATINGS}", "--bogus").returncode, 0)

    def test_output(self):
        nowhere = self.path("no/such/folder/file")
        for flag in ("predictions", "plot", "recommendations"):
            arguments = ["--json", f"--data={RATINGS}", "--split=last-out"]
            self.refused(1, [nowhere], *arguments, f"--{flag}={nowhere}")
            self.refused(1, ["/dev/full"], *arguments, f"--{flag}=/dev/full")
        self.refused(1, [nowhere], f"--data={RATINGS}", "--method=pa", f"--factors={nowhere}")
        # So little that it is written when the file is closed.
        few = self.write("few.csv", "1,2,3\n1,3,4\n2,3,5\n")
        self.refused(1, ["/dev/full"], "--json", f"--train={few}", f"--test={few}",
                     "--predictions=/dev/full")
        self.refused(1, [nowhere], f"--data={RATINGS}", "--method=pa", "--topics=2",
                     f"--titles={nowhere}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
